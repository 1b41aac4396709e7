"""HaltEval-prelim: does a program end?"""

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
from cwm_eval.benchmarks.unpickling import packed_json

if TYPE_CHECKING:
    from cwm_eval.benchmarks.config import HaltEvalTasks

FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": (str, int),
    "terminates": bool,
    "enc_code": str,
}
_QUESTION = """\
Does the following program terminate?

```python
{code}
```

Answer with one word in [ANSWER] and [/ANSWER] tags: yes if it terminates, no if it runs forever.
"""
_WORDS = {"yes": True, "true": True, "terminates": True, "no": False, "false": False}
_WORD = re.compile(r"[a-z]+")


class HaltEval(QuestionEnvironment):
    """A program; the answer is yes or no."""

    def __init__(self, config: HaltEvalTasks, limit: int | None) -> None:
        rows = read_rows(config.data, FIELDS, config.split)
        tasks = []
        for row in rows:
            name = str(row["id"])
            code = packed_json(row["enc_code"], f"{config.data}, enc_code of {name}")
            if not isinstance(code, str):
                raise DataError(f"{config.data}: enc_code of {name} is no text")
            data = {"code": code, "terminates": row["terminates"]}
            kind = "terminates" if row["terminates"] else "runs forever"
            tasks.append(Task(name, data, {"kind": kind}, config.split))
        chosen = drawn(unique(tasks, config.data), config.bound(limit), config.seed)
        super().__init__(chosen, reasoning=config.reasoning)

    def prompt(self, task: Task) -> str:
        """Return the question."""
        return _QUESTION.format(code=task.data["code"].rstrip())

    async def grade(self, task: Task, text: str) -> Grade:
        """Read yes or no: between the tags, else the last such word."""
        said = said_yes(text)
        truth = self.truth(task)
        if said is None:
            return Grade(NO_ANSWER, "", truth)
        answer = "yes" if said else "no"
        return Grade(RIGHT if said == task.data["terminates"] else WRONG, answer, truth)

    def gold(self, task: Task) -> str | None:
        """Return the word in its tags."""
        return f"[ANSWER]{self.truth(task)}[/ANSWER]"

    def truth(self, task: Task) -> str:
        """Return the word."""
        return "yes" if task.data["terminates"] else "no"


def said_yes(text: str) -> bool | None:
    """Return what an answer says, None when it says neither yes nor no."""
    tagged = re.findall(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|$)", text, re.DOTALL)
    words = _WORD.findall((tagged[-1] if tagged else text).lower())
    found = [_WORDS[word] for word in words if word in _WORDS]
    if tagged and len(set(found)) > 1:
        return None
    return found[-1] if found else None
