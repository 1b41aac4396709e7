"""What happens in a trace, as facts that are true of its frames.

A line frame shows the state before its line runs, so what a line does is read off the next line
frame of the same activation; where none follows, nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cwm_core.data.records import Outcome, TraceRecord
from cwm_core.trace.frames import Event
from cwm_tracer.capture.scripts import MODULE
from cwm_tracer.changes import Step, steps


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happens.

    `kind` is ``call`` or ``resume`` (`values`: arguments, or all variables), ``run`` (a line, and
    no word about what it does), ``effect`` (what the line that ran before has changed: `values` and
    `gone`), ``line`` (a line with its effect), ``quiet`` (a line after which the shown state is the
    same; `next_line` follows), ``return``, ``yield``, ``leave``,
    ``exception``, ``print`` (`value`).
    """

    kind: str
    function: str
    line: int
    source: str
    values: Mapping[str, str]
    gone: tuple[str, ...] = ()
    value: str = ""
    next_line: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """The result: `kind` is ``value``, ``exception`` or, of a script, ``output``."""

    kind: str
    text: str


def facts(record: TraceRecord) -> Iterator[Fact]:
    """Yield the facts of a trace in the order of its events."""
    all_steps = steps(record.trace.frames)
    followers = [*all_steps[1:], None]
    told: set[int] = set()
    raised: set[int] = set()
    for step, follower in zip(all_steps, followers):
        event = step.frame.event
        if event is Event.LINE:
            raised.discard(step.activation)
            if step.index not in told and (step.changed or step.gone):
                yield _fact("effect", step, values=step.changed, gone=step.gone)
            yield _line(step, follower, told)
        elif event is Event.CALL:
            kind = "resume" if step.frame.suspended else "call"
            yield _fact(kind, step, values=step.changed)
        elif event is Event.EXCEPTION:
            raised.add(step.activation)
            yield _fact("exception", step, value=step.frame.value or "")
        else:
            yield _leaving(step, step.activation in raised)
        if step.frame.stdout:
            yield _fact("print", step, value=repr(step.frame.stdout))


def ending(record: TraceRecord) -> Ending | None:
    """Return the result of a complete execution; None of one that was cut off."""
    if record.outcome is Outcome.RAISED:
        return Ending("exception", record.reason)
    frames = record.trace.frames
    if record.outcome is not Outcome.RETURNED or not frames:
        return None
    if record.entry == MODULE:
        return Ending("output", record.stdout)
    value = frames[-1].value
    return None if value is None else Ending("value", value)


def _line(step: Step, follower: Step | None, told: set[int]) -> Fact:
    if follower is None or follower.activation != step.activation:
        return _fact("run", step)
    if follower.frame.event is not Event.LINE:
        return _fact("run", step)
    told.add(follower.index)
    if follower.changed or follower.gone:
        return _fact("line", step, values=follower.changed, gone=follower.gone)
    return _fact("quiet", step, next_line=follower.frame.line_number or 0)


def _leaving(step: Step, raised: bool) -> Fact:
    value = step.frame.value or ""
    if step.frame.suspended:
        return _fact("yield", step, value=value)
    # After an exception, None may be the value, or stand for no value at all.
    return (
        _fact("leave", step) if raised and value == "None" else _fact("return", step, value=value)
    )


def _fact(
    kind: str,
    step: Step,
    *,
    values: Mapping[str, str] | None = None,
    gone: tuple[str, ...] = (),
    value: str = "",
    next_line: int = 0,
) -> Fact:
    frame = step.frame
    return Fact(
        kind,
        frame.function or "",
        frame.line_number or 0,
        frame.source.strip(),
        values or {},
        gone,
        value,
        next_line,
    )
