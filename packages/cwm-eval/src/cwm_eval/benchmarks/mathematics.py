r"""MATH-500 (Lightman et al. 2023) and AIME: a problem, and an answer in ``\boxed{}``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cwm_core.env.environment import Task
from cwm_core.errors import DataError
from cwm_eval.benchmarks import answers
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
from cwm_eval.grading.math_pool import MathGrader

if TYPE_CHECKING:
    from cwm_eval.benchmarks.config import AimeTasks, Math500Tasks

MATH_FIELDS: dict[str, type | tuple[type, ...]] = {
    "problem": str,
    "solution": str,
    "answer": str,
    "subject": str,
    "level": int,
    "unique_id": str,
}
_QUESTION = """\
Solve the following math problem. Put your final answer within \\boxed{{}}.

{problem}
"""


class MathQuestions(QuestionEnvironment):
    """Problems with an answer that two graders compare, either of which may accept it."""

    def __init__(self, tasks: list[Task], *, reasoning: bool, workers: int, cpu_s: float) -> None:
        super().__init__(tasks, reasoning=reasoning)
        self._grader = MathGrader(workers, cpu_s)

    def prompt(self, task: Task) -> str:
        """Return the question."""
        return _QUESTION.format(problem=task.data["problem"])

    async def grade(self, task: Task, text: str) -> Grade:
        """Compare the last boxed answer."""
        truth, answer = self.truth(task), answers.boxed(text)
        if not answer:
            return Grade(NO_ANSWER, "", truth)
        same = await self._grader.same(truth, answer)
        if same is None:
            return Grade("time", answer[:500], truth, "the comparison did not end")
        return Grade(RIGHT if same else WRONG, answer[:500], truth)

    def gold(self, task: Task) -> str | None:
        """Return the boxed answer."""
        return f"The answer is $\\boxed{{{task.data['answer']}}}$."

    def truth(self, task: Task) -> str:
        """Return the answer."""
        return str(task.data["answer"])

    def close(self) -> None:
        """End the processes that compare."""
        self._grader.close()


def math_500(config: Math500Tasks, limit: int | None) -> MathQuestions:
    """Read MATH-500; raises `DataError`."""
    rows = read_rows(config.data, MATH_FIELDS, config.split)
    tasks = [
        Task(r["unique_id"], r, {"subject": r["subject"], "level": r["level"]}, config.split)
        for r in rows
    ]
    return _made(config, tasks, limit)


def aime(config: AimeTasks, limit: int | None) -> MathQuestions:
    """Read an AIME file in any of its published forms; raises `DataError`."""
    rows = read_rows(config.data, {"answer": (str, int)}, config.split)
    tasks = []
    for number, row in enumerate(rows, start=1):
        problem = row.get("problem") or row.get("question")
        if not isinstance(problem, str):
            raise DataError(
                f"{config.data} row {number} has no problem",
                "a row has the fields id, problem (or question), answer",
            )
        year = _year(row)
        if config.year is not None and year != config.year:
            continue
        answer = str(row["answer"]).strip()
        if not re.fullmatch(r"\d{1,3}(?:\D.*)?", answer):  # one is published as "336^\circ"
            raise DataError(
                f"{config.data} row {number}: answer {answer[:40]!r} is no integer from 0 to 999",
                "fetch the file again",
            )
        plain = str(int(answer)) if answer.isdecimal() else answer
        name = str(row.get("id", row.get("ID", number)))
        data = {**row, "problem": problem, "answer": plain}
        tasks.append(Task(name, data, {} if year is None else {"kind": year}, config.split))
    if not tasks:
        raise DataError(f"{config.data} has no problem of {config.year}", "choose another year")
    return _made(config, tasks, limit)


def _year(row: Any) -> int | None:
    for name in ("year", "Year"):
        if str(row.get(name, "")).isdigit():
            return int(row[name])
    for year in range(1983, 2100):
        if f"{year}_AIME" in str(row.get("url", "")):
            return year
    return None


def _made(config: Math500Tasks | AimeTasks, tasks: list[Task], limit: int | None) -> MathQuestions:
    chosen = drawn(unique(tasks, config.data), config.bound(limit), config.seed)
    return MathQuestions(
        chosen,
        reasoning=config.reasoning,
        workers=config.workers,
        cpu_s=config.cpu_s,
    )
