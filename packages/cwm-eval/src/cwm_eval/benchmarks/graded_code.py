"""What environments share whose answers are code: a grader, and what its verdicts mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cwm_core.env.environment import Task
from cwm_eval.benchmarks.questions import NO_ANSWER, RIGHT, Grade, QuestionEnvironment
from cwm_eval.grading.config import Grading
from cwm_eval.grading.pool import Grader, Verdict

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


def graded(
    verdict: Verdict, answer: str, truth: str = "", scores: Mapping[str, float] | None = None
) -> Grade:
    """Return the grade that a verdict means."""
    outcome = RIGHT if verdict.passed else verdict.outcome
    outcome = NO_ANSWER if outcome == "no_code" else outcome
    return Grade(outcome, answer[:_SHOWN], truth[:_SHOWN], verdict.detail, scores or {})
