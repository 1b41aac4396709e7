"""What environments share whose answers are code: a grader, and what its verdicts mean."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cwm_core.env.environment import Task
from cwm_eval.benchmarks.python_tests import open_names, standard_imports
from cwm_eval.benchmarks.questions import NO_ANSWER, RIGHT, Grade, QuestionEnvironment
from cwm_eval.grading.config import Grading
from cwm_eval.grading.pool import Grader, Tests, Verdict

_SHOWN = 4000


class CodeEnvironment(QuestionEnvironment):
    """A question environment with a grader, which starts with the first answer."""

    def __init__(self, tasks: Sequence[Task], grading: Grading, *, reasoning: bool = False) -> None:
        super().__init__(tasks, reasoning=reasoning)
        self._grading = grading
        self._grader: Grader | None = None

    @property
    def grader(self) -> Grader:
        """What runs solutions."""
        if self._grader is None:
            self._grader = self._grading.build()
        return self._grader

    def close(self) -> None:
        """End the sandboxes."""
        if self._grader is not None:
            self._grader.close()
            self._grader = None


@dataclass(frozen=True, slots=True)
class ProgramTest:
    """A test that may influence a choice among programs: the question shows it or a model wrote it.

    Either an assertion, or a case of a contest: ``{"input", "output", "testtype"}``.
    """

    name: str
    """Says the test in full; equal names are one test."""
    case: Mapping[str, Any] | None = None


class ProgramEnvironment(CodeEnvironment):
    """Questions that are answered with a program, which further tests can be run on."""

    has_cases: ClassVar[bool] = False
    """Whether further tests are inputs with outputs, as contests have them, not assertions."""

    @abstractmethod
    def entry(self, task: Task) -> str:
        """Return the function that is asked for; empty where a program reads and prints."""

    @abstractmethod
    def statement(self, task: Task) -> str:
        """Return the problem with the tests that are shown, and no others."""

    @abstractmethod
    def shown_tests(self, task: Task) -> list[ProgramTest]:
        """Return the tests that the question shows; never one that only decides."""

    def runnable(self, program: str) -> str:
        """Return what is run of an answer's program."""
        return program

    async def passes(self, task: Task, program: str, test: ProgramTest) -> Verdict:
        """Run one test on a program."""
        code = self.runnable(program)
        names = open_names(test.name, code)
        tests = Tests(test.name, names=names, reference=standard_imports(test.name))
        return await self.grader.check(code, tests)


def graded(
    verdict: Verdict, answer: str, truth: str = "", scores: Mapping[str, float] | None = None
) -> Grade:
    """Return the grade that a verdict means; the answer is kept whole: choices run it again."""
    outcome = RIGHT if verdict.passed else verdict.outcome
    outcome = NO_ANSWER if outcome == "no_code" else outcome
    return Grade(outcome, answer, truth[:_SHOWN], verdict.detail, scores or {})
