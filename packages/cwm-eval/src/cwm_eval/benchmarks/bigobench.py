"""BigO(Bench) (Chambon et al. 2025): the time or space complexity of a solution."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cwm_core.env.environment import Task
from cwm_core.errors import DataError
from cwm_eval.benchmarks.questions import (
    NO_ANSWER,
    RIGHT,
    WRONG,
    Grade,
    QuestionEnvironment,
    drawn,
    unique,
)
from cwm_eval.benchmarks.rows import read_rows

if TYPE_CHECKING:
    from cwm_eval.benchmarks.config import BigOBenchTasks

_QUESTION = """\
Here is a coding problem and a Python solution of it.

Problem:
{description}

Solution:
```python
{code}
```

What is the {kind} complexity of the solution? Answer with one expression in big-O notation, such \
as O(1), O(n), O(nlogn), O(n**2) or O(n*m).
"""
_BIG_O = re.compile(r"\bO\s*\(")


class BigOBench(QuestionEnvironment):
    """A problem and a solution; the answer is its complexity class as the data set measured it."""

    def __init__(self, config: BigOBenchTasks, limit: int | None) -> None:
        label = f"{config.predict}_complexity_inferred"
        fields: dict[str, type | tuple[type, ...]] = {
            "problem_id": (str, int),
            "solution_id": (str, int),
            "description": str,
            "solution_code": str,
            label: str,
        }
        rows = read_rows(config.data, fields, config.split)
        for number, row in enumerate(rows, start=1):
            if not complexities(row[label]):
                raise DataError(
                    f"{config.data} row {number}: {label} {row[label][:40]!r} is no complexity",
                    "it must be in big-O notation, such as O(n*logn)",
                )
        tasks = [
            Task(
                f"{row['problem_id']}/{row['solution_id']}",
                {**row, "label": row[label], "predict": config.predict},
                {"kind": row[label]},
                config.split,
            )
            for row in rows
        ]
        chosen = drawn(unique(tasks, config.data), config.bound(limit), config.seed)
        super().__init__(chosen, reasoning=config.reasoning)

    def prompt(self, task: Task) -> str:
        """Return the question."""
        row = task.data
        return _QUESTION.format(
            description=row["description"].strip(),
            code=row["solution_code"].strip(),
            kind=row["predict"],
        )

    async def grade(self, task: Task, text: str) -> Grade:
        """Compare the last complexity that the answer names."""
        found = complexities(text)
        if not found:
            return Grade(NO_ANSWER, "", self.truth(task))
        same = canonical(found[-1]) == canonical(task.data["label"])
        return Grade(RIGHT if same else WRONG, canonical(found[-1]), self.truth(task))

    def gold(self, task: Task) -> str | None:
        """Return the label."""
        return str(task.data["label"])

    def truth(self, task: Task) -> str:
        """Return the label."""
        return str(task.data["label"])


def complexities(text: str) -> list[str]:
    """Return the ``O(...)`` of a text, parentheses balanced, in order."""
    found = []
    for match in _BIG_O.finditer(text.replace("\\left", "").replace("\\right", "")):
        clean = match.string
        depth = 1
        for index in range(match.end(), len(clean)):
            depth += (clean[index] == "(") - (clean[index] == ")")
            if depth == 0:
                found.append(f"O({clean[match.end() : index]})")
                break
    return found


def canonical(complexity: str) -> str:
    """Return a complexity in one spelling: factors and terms sorted, powers as ``**``."""
    text = complexity.lower().replace(" ", "").replace("\\", "").replace("^", "**")
    text = text.replace("{", "").replace("}", "").replace("cdot", "*").replace("×", "*")
    text = text.replace("²", "**2").replace("³", "**3").replace("times", "*")
    inner = text.removeprefix("o(").removesuffix(")")
    inner = re.sub(r"log(?:_?2)?\(?([a-z])\)?", r"log\1", inner)
    inner = re.sub(r"(?<=[a-z0-9)])log", "*log", inner)
    terms = [_factors(term) for term in _split(inner, "+")]
    return f"o({'+'.join(sorted(set(terms)))})"


def _factors(term: str) -> str:
    while _wrapped(term):
        term = term[1:-1]
    powers: dict[str, int] = {}
    for factor in _split(term.replace("**", "^"), "*"):
        base, _, power = factor.partition("^")
        if power and not power.isdigit():
            base, power = factor, ""
        powers[base] = powers.get(base, 0) + int(power or 1)
    powers.pop("1", None) if len(powers) > 1 else None
    return "*".join(sorted(b if p == 1 else f"{b}**{p}" for b, p in powers.items()))


def _wrapped(text: str) -> bool:
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depth = 0
    for letter in text[:-1]:
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return False
    return True


def _split(text: str, mark: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == mark and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]
