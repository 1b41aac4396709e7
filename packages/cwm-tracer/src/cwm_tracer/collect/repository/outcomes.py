"""Outcomes of tests, read from what the plugin wrote, and their comparison."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

NEVER_ENDED = "never ended"
NOT_RUN = "not run"
COLLECT_ERROR = "collection error"


@dataclass(slots=True)
class Outcomes:
    """What one run of pytest reported."""

    tests: dict[str, str] = field(default_factory=dict)
    """By test id: passed, failed, error, skipped, xfailed, xpassed, or one of the constants of
    this module."""
    collected: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    """Text of each collection error, by the id of the file."""
    finished: bool = False
    """Whether pytest reached its end."""
    phases: dict[str, str] = field(default_factory=dict)
    """Outcomes of tests that have not ended, so far."""


def read_outcomes(data: bytes) -> Outcomes:
    """Read ``outcomes.jsonl``; lines that make no sense are left out."""
    found = Outcomes()
    for line in data.splitlines():
        try:
            entry = json.loads(line)
            _take(found, entry)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    for name in found.collected:
        found.tests.setdefault(name, NOT_RUN)
    return found


def _take(found: Outcomes, entry: dict[str, Any]) -> None:
    kind = entry["kind"]
    if kind == "collected":
        found.collected = [str(name) for name in entry["ids"]]
    elif kind == "collect_error":
        found.errors[str(entry["id"])] = str(entry["text"])
        found.tests[str(entry["id"])] = COLLECT_ERROR
    elif kind == "start":
        found.tests[str(entry["id"])] = NEVER_ENDED
    elif kind == "report":
        name = str(entry["id"])
        found.phases[name] = _worse(found.phases.get(name, NEVER_ENDED), _outcome(entry))
        if entry["when"] not in _PHASES:  # pytest-xdist: the worker died
            found.tests[name] = found.phases[name]
    elif kind == "end":
        name = str(entry["id"])
        found.tests[name] = found.phases.pop(name, NEVER_ENDED)
    elif kind == "finished":
        found.finished = True


def _outcome(entry: dict[str, Any]) -> str:
    outcome, when = entry["outcome"], entry["when"]
    if outcome == "skipped":
        return "xfailed" if entry["xfail"] else "skipped"
    if outcome == "passed":
        return "xpassed" if entry["xfail"] else "passed"
    return "error" if when in ("setup", "teardown") else "failed"


_PHASES = ("setup", "call", "teardown")
_RANK = [NEVER_ENDED, "passed", "skipped", "xpassed", "xfailed", "failed", "error"]


def _worse(one: str, other: str) -> str:
    """Join the outcomes of two phases of a test."""
    return max(one, other, key=lambda outcome: _RANK.index(outcome) if outcome in _RANK else 0)


def differences(untraced: Outcomes, traced: Outcomes) -> dict[str, tuple[str, str]]:
    """Return the tests whose outcomes differ: untraced, traced."""
    names = {**untraced.tests, **traced.tests}
    pairs = {
        name: (untraced.tests.get(name, NOT_RUN), traced.tests.get(name, NOT_RUN)) for name in names
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
