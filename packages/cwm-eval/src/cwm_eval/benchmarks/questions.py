"""Environments of one step: a question, and a grade for the answer."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cwm_core.env.environment import Action, Observation, Task, Transition
from cwm_core.errors import DataError
from cwm_eval.benchmarks.answers import without_reasoning
from cwm_eval.benchmarks.base import MetricInfo


@dataclass(frozen=True, slots=True)
class Grade:
    """What an answer is worth.

    `outcome` is ``right`` or why not; `answer` is what was understood of the text (equal answers
    vote together), `truth` what is shown beside it in reports.
    """

    outcome: str
    answer: str = ""
    truth: str = ""
    detail: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Further scores from 0 to 1, by the name of their metric."""

    @property
    def right(self) -> bool:
        """Whether the answer is right."""
        return self.outcome == RIGHT


RIGHT, WRONG, NO_ANSWER = "right", "wrong_answer", "no_answer"


class QuestionEnvironment(ABC):
    """Tasks with a prompt; an episode is one answer, its reward 1 or 0.

    `step` reports the fields of a `Grade` in `info`. A reply whose reasoning never ends is no
    answer when `reasoning` is on. What the sandbox cannot do raises; everything else is a grade.
    """

    score_infos: ClassVar[Mapping[str, MetricInfo]] = {}
    """How the scores of its grades are shown that no other environment has."""

    def __init__(self, tasks: Sequence[Task], *, reasoning: bool = False) -> None:
        self._tasks = tasks
        self._reasoning = reasoning

    def tasks(self, split: str) -> Iterable[Task]:
        """Yield the tasks of a split; raises `DataError` where there are none."""
        found = [task for task in self._tasks if task.split == split]
        if not found:
            splits = ", ".join(sorted({task.split for task in self._tasks}))
            raise DataError(f"there are no tasks of split {split!r}", f"there are some of {splits}")
        return found

    def count(self, split: str) -> int:
        """Return the number of tasks of a split."""
        return sum(task.split == split for task in self._tasks)

    async def start(self, task: Task) -> Transition:
        """Ask the question."""
        return Transition(task, self.observe(task), done=False)

    async def step(self, state: Task, action: Action) -> Transition:
        """Grade an answer."""
        grade = await self.graded(state, action)
        info = {
            "right": grade.right,
            "outcome": grade.outcome,
            "answer": grade.answer,
            "truth": grade.truth,
            "detail": grade.detail,
            "scores": dict(grade.scores),
        }
        return Transition(state, Observation(), True, float(grade.right), info)

    async def graded(self, task: Task, action: Action) -> Grade:
        """Grade an action: its text, without its reasoning."""
        text = without_reasoning(action.text, reasoning=self._reasoning)
        if text is None or not text.strip():
            return Grade(NO_ANSWER, truth=self.truth(task))
        return await self.grade(task, text)

    def observe(self, task: Task) -> Observation:
        """Return the prompt; as token ids where it is more than text."""
        return Observation(self.prompt(task))

    @abstractmethod
    def prompt(self, task: Task) -> str:
        """Return the question."""

    @abstractmethod
    async def grade(self, task: Task, text: str) -> Grade:
        """Grade the text of an answer; never raises for what it holds."""

    @abstractmethod
    def gold(self, task: Task) -> str | None:
        """Return a right answer as a model would write it, None where the data has none."""

    def gold_action(self, task: Task) -> Action | None:
        """Return a right action; with token ids where a text does not say it."""
        text = self.gold(task)
        return None if text is None else Action(text)

    def truth(self, task: Task) -> str:
        """Return what reports show beside an answer."""
        return ""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Free sandboxes and processes."""


def drawn(tasks: Sequence[Task], limit: int | None, seed: int) -> list[Task]:
    """Return `limit` tasks in their order; a larger limit holds what a smaller one holds."""
    if limit is None or limit >= len(tasks):
        return list(tasks)

    def rank(task: Task) -> bytes:
        return hashlib.sha256(f"{seed}:{task.id}".encode()).digest()

    chosen = {task.id for task in sorted(tasks, key=rank)[:limit]}
    return [task for task in tasks if task.id in chosen]


def unique(tasks: Iterable[Task], where: str) -> list[Task]:
    """Return the tasks; raises `DataError` when two have the same id."""
    seen: dict[str, Task] = {}
    for task in tasks:
        if task.id in seen:
            raise DataError(f"{where} holds the problem {task.id!r} twice", "remove one of them")
        seen[task.id] = task
    return list(seen.values())


def as_list(value: Any, where: str) -> list[str]:
    """Return a list of strings that the publisher may have written as a JSON string."""
    import json

    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{where} is no list of strings", "fetch the file again")
    return value
