"""What is known about a patch after it was judged."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """Why a patch is, or is not, a repair."""

    RESOLVED = "resolved"
    """Every test passes that must."""
    TESTS_FAILED = "tests_failed"
    """A test does not pass that must."""
    EMPTY = "empty"
    """Nothing is left of the patch without tests and configuration."""
    NOT_APPLICABLE = "not_applicable"
    """It does not apply to the repository."""
    TIMEOUT = "timeout"
    """The tests took too long."""
    TAMPERED = "tampered"
    """The tests' machinery or their files were manipulated."""
    SUSPICIOUS = "suspicious"
    """It reaches for what a repair has no business with."""
    NO_REPORT = "no_report"
    """The runner died, or was killed by what it ran."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one patch."""

    result: Result
    reason: str = ""
    """One sentence, empty for a repair."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """By test: passed, failed, error, skipped, xfailed, xpassed, or missing."""
    dropped: tuple[str, ...] = ()
    """Files of the patch that did not cross: tests, configuration and the like."""
    control: dict[str, str] = field(default_factory=dict)
    """Outcomes of the same tests with bodies that must fail."""
    output: str = ""
    """The end of what the test run printed."""
    duration_s: float = 0.0
    forgeable: bool = False
    """Whether the verdict rests on a log, which the tested process writes itself."""

    @property
    def resolved(self) -> bool:
        """Whether the patch is a repair."""
        return self.result is Result.RESOLVED

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {**asdict(self), "result": self.result.value, "dropped": list(self.dropped)}
