"""HumanEval (Chen et al. 2021) and HumanEval+ (Liu et al. 2023): complete a function."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from cwm_core.env.environment import Task
from cwm_core.errors import DataError
from cwm_eval.benchmarks import answers
from cwm_eval.benchmarks.checked_python import check_python
from cwm_eval.benchmarks.graded_code import ProgramEnvironment, ProgramTest, graded
from cwm_eval.benchmarks.questions import NO_ANSWER, Grade, drawn, unique
from cwm_eval.benchmarks.rows import Row, check_row, read_rows
from cwm_eval.benchmarks.shown_tests import examples
from cwm_eval.grading.pool import Tests

if TYPE_CHECKING:
    from cwm_eval.benchmarks.config import HumanEvalTasks

FIELDS: dict[str, type | tuple[type, ...]] = {
    "task_id": str,
    "prompt": str,
    "entry_point": str,
    "canonical_solution": str,
}
PLUS: dict[str, type | tuple[type, ...]] = {
    "base_input": list,
    "plus_input": list,
    "atol": (int, float),
}
_QUESTION = """\
Please provide a self-contained Python script that solves the following problem in one markdown
code block:
```python
{prompt}
```
"""
_ENDS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\n```", "\nassert ", "\n@")
_ROOT = """\
import math
def compare(arguments, answer, expected):
    coefficients = arguments[0]
    value = sum(c * math.pow(answer, i) for i, c in enumerate(coefficients))
    return abs(value) <= 1e-4
"""
"""find_zero has many right answers: what counts is that the polynomial is 0 there."""


class HumanEval(ProgramEnvironment):
    """A function's signature and docstring; the published tests decide, in a process apart."""

    def __init__(self, config: HumanEvalTasks, limit: int | None) -> None:
        rows = read_rows(config.data, FIELDS, config.split)
        for row in rows:
            _check(row, f"{config.data}, {row['task_id']}")
        tasks = unique((Task(r["task_id"], r, {}, config.split) for r in rows), config.data)
        super().__init__(
            drawn(tasks, config.bound(limit), config.seed),
            config.grading,
            reasoning=config.reasoning,
        )

    def prompt(self, task: Task) -> str:
        """Return the question as EvalPlus asks it."""
        return _QUESTION.format(prompt=task.data["prompt"].rstrip())

    async def grade(self, task: Task, text: str) -> Grade:
        """Run the tests on a whole function or on a completion of the prompt."""
        code = solution(text, task.data["prompt"], task.data["entry_point"])
        if not code.strip():
            return Grade(NO_ANSWER, truth=self.truth(task))
        verdict = await self.grader.check(code, tests(task.data))
        return graded(verdict, code, self.truth(task))

    async def grade_completion(self, task: Task, completion: str) -> Grade:
        """Grade a completion of the published format: it continues the prompt."""
        code = task.data["prompt"] + completion
        return graded(await self.grader.check(code, tests(task.data)), code, self.truth(task))

    def gold(self, task: Task) -> str | None:
        """Return the reference solution."""
        return f"```python\n{reference(task.data)}\n```"

    def truth(self, task: Task) -> str:
        """Return the reference solution."""
        return reference(task.data)

    def entry(self, task: Task) -> str:
        """Return the name in the signature."""
        return str(task.data["entry_point"])

    def statement(self, task: Task) -> str:
        """Return signature and docstring."""
        return f"```python\n{task.data['prompt'].rstrip()}\n```"

    def shown_tests(self, task: Task) -> list[ProgramTest]:
        """Return the examples of the docstring."""
        return [ProgramTest(e) for e in examples(task.data["prompt"], self.entry(task))]


def _check(row: Row, where: str) -> None:
    """Raise `DataError` for a problem whose own solution could not pass."""
    if row.get("test") is None:
        check_row(row, PLUS, where)
    else:
        check_row(row, {"test": str}, where)
        check_python(row["test"], f"{where}: the test", defines="check" * bool(row["test"].strip()))
    check_python(reference(row), f"{where}: the solution", defines=row["entry_point"])


def reference(row: Any) -> str:
    """Return prompt and canonical solution."""
    return str(row["prompt"] + row["canonical_solution"])


def solution(text: str, prompt: str, entry: str) -> str:
    """Return the program that an answer means: on its own, or as completion of the prompt.

    What the prompt defines before the function (imports, helpers) comes first in any case.
    """
    code = answers.last_code(text)
    if answers.defines(code, entry):
        return preamble(prompt, entry) + "\n" + code
    return prompt + cut(code)


def cut(completion: str) -> str:
    """Return a completion up to where the function has ended."""
    ends = [at for mark in _ENDS if (at := completion.find(mark)) >= 0]
    return completion[: min(ends)] if ends else completion


def preamble(prompt: str, entry: str) -> str:
    """Return what comes before the entry function in a prompt."""
    try:
        tree = ast.parse(prompt)
    except (SyntaxError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            return "".join(prompt.splitlines(keepends=True)[: first - 1])
    return ""


def tests(row: Row | Any) -> Tests:
    """Return a problem's tests. Names of the prompt mean its own code, never the solution's.

    HumanEval's ``check(candidate)``; for HumanEval+ rows with inputs, the reference solution says
    what is expected.
    """
    if (row.get("test") or "").strip():
        source = f"{row['test']}\ncheck(candidate)\n"
        return Tests(source, entry=row["entry_point"], reference=reference(row))
    inputs = [*row["base_input"], *row["plus_input"]]
    if not inputs:
        raise DataError(f"{row['task_id']} has neither tests nor inputs", "fetch the file again")
    entry, atol = row["entry_point"], float(row["atol"])
    special = "compare" if entry == "find_zero" else "None"
    source = f"check_like(candidate, {entry}, data['inputs'], {atol!r}, {special})"
    before = reference(row) + ("\n" + _ROOT if entry == "find_zero" else "")
    return Tests(source, entry=entry, reference=before, data={"inputs": inputs})
