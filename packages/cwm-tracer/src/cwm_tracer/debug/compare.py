"""Where a predicted event differs from the one that was executed."""

from __future__ import annotations

from dataclasses import dataclass

from cwm_core.trace.frames import Frame

ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of an event: what was executed, and what was predicted."""

    part: str
    """``"event"``, ``"source"``, ``"value"``, or the name of a local."""
    executed: str
    predicted: str

    def __str__(self) -> str:
        return f"{self.part}: executed {self.executed}, predicted {self.predicted}"


def differences(executed: Frame | None, predicted: Frame | None) -> list[Difference]:
    """Return the parts that differ; None stands for the end of the trace."""
    if executed is None or predicted is None:
        if executed is predicted:
            return []
        return [Difference("event", _event(executed), _event(predicted))]
    found = []
    if executed.event is not predicted.event:
        found.append(Difference("event", str(executed.event), str(predicted.event)))
    if executed.source.rstrip() != predicted.source.rstrip():
        found.append(Difference("source", executed.source.strip(), predicted.source.strip()))
    if executed.value != predicted.value:
        found.append(Difference("value", executed.value or ABSENT, predicted.value or ABSENT))
    before, after = executed.locals or {}, predicted.locals or {}
    for name in dict.fromkeys([*before, *after]):
        true, told = before.get(name, ABSENT), after.get(name, ABSENT)
        if true != told:
            found.append(Difference(name, true, told))
    return found


def _event(frame: Frame | None) -> str:
    return "end" if frame is None else str(frame.event)
