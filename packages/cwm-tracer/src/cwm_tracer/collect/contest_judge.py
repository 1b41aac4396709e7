"""Judging a run of a contest's solution by what it printed."""

from __future__ import annotations

from dataclasses import dataclass

from cwm_core.data.records import Outcome, TraceRecord
from cwm_tracer.collect.recording import Verdict
from cwm_tracer.compare import same_output
from cwm_tracer.programs.program import Program

CORRECT, INCORRECT = "contest_correct", "contest_incorrect"
_LEFT_WELL = frozenset({"SystemExit()", "SystemExit(0)", "SystemExit(None)"})


@dataclass(frozen=True, slots=True)
class Solution(Program):
    """A script with the outputs that its inputs should give."""

    expected: tuple[str, ...] = ()
    """One per input."""
    tests: tuple[str, ...] = ()
    """Where the inputs come from, such as ``private_tests[2]``."""
    correct: bool = True
    """As the data set says."""


@dataclass(frozen=True, slots=True)
class ContestJudge:
    """Compares outputs, and leaves out runs whose result belies what the solution is said to be.

    The origin of what is kept is `CORRECT` or `INCORRECT`, a colon, and where it comes from.
    """

    float_tolerance: float | None = None
    only_failing: bool = True

    def __call__(self, program: Program, record: TraceRecord) -> Verdict:
        """Judge the record of one run of a `Solution`."""
        assert isinstance(program, Solution)
        at = program.inputs.index(record.input)
        right = _ended_well(record) and same_output(
            program.expected[at], record.stdout, self.float_tolerance
        )
        kind = CORRECT if right else INCORRECT
        origin = f"{kind}:{program.origin} {program.tests[at]}"
        if program.correct and not right:
            return Verdict(origin, "wrong output of a correct solution")
        if not program.correct and right and self.only_failing:
            return Verdict(origin, "right output of an incorrect solution")
        return Verdict(origin)


def _ended_well(record: TraceRecord) -> bool:
    left = record.outcome is Outcome.RAISED and record.reason in _LEFT_WELL
    return record.outcome is Outcome.RETURNED or left
