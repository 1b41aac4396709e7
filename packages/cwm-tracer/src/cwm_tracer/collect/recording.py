"""What a worker does: record a batch of executions and decide which are kept."""

from __future__ import annotations

import atexit
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cwm_core.data.records import COMPLETE_OUTCOMES, TraceRecord
from cwm_core.plugins import ComponentConfig
from cwm_core.trace.frames import Event, Frame
from cwm_tracer.capture.limits import Limits
from cwm_tracer.capture.values import elided
from cwm_tracer.collect.config import DropConfig
from cwm_tracer.programs.program import Program

if TYPE_CHECKING:
    from cwm_tracer.capture.tracer import Tracer


@dataclass(frozen=True, slots=True)
class Execution:
    """A program to run on one argument list."""

    trace_id: str
    program: Program
    input: str
    split: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """Result of an execution: its row, or why it has none."""

    trace_id: str
    outcome: str
    events: int
    row: dict[str, Any] | None
    dropped: str | None = None
    """Kind of the reason, such as ``incomplete``."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of a record: where it belongs, or why it is left out."""

    origin: str
    dropped: str | None = None


Judge = Callable[[Program, TraceRecord], Verdict]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records batches with one tracer per process; picklable."""

    tracer: ComponentConfig
    limits: Limits
    drop: DropConfig
    judge: Judge | None = None
    """Sees the records that `drop` keeps; picklable."""

    def __call__(self, batch: list[Execution]) -> list[Recorded]:
        """Record every execution of a batch."""
        tracer = tracer_of(self.tracer, self.limits)
        return [self._record(tracer, execution) for execution in batch]

    def _record(self, tracer: Tracer, execution: Execution) -> Recorded:
        record = tracer.record(execution.program, execution.input)
        record = dataclasses.replace(record, trace_id=execution.trace_id, split=execution.split)
        dropped = drop_reason(record, self.drop)
        if dropped is None and self.judge is not None:
            verdict = self.judge(execution.program, record)
            record = dataclasses.replace(record, origin=verdict.origin)
            dropped = verdict.dropped
        return Recorded(
            execution.trace_id,
            record.outcome.value,
            record.events,
            None if dropped else record.to_row(),
            dropped,
            record.reason,
        )


def drop_reason(record: TraceRecord, rules: DropConfig) -> str | None:
    """Return the first rule by which a record is left out; None if it is kept."""
    if rules.incomplete and record.outcome not in COMPLETE_OUTCOMES:
        return f"incomplete: {record.outcome.value}"
    if rules.incomplete and not record.frames:
        return "no events"
    if rules.max_events is not None and record.events > rules.max_events:
        return "too many events"
    if rules.max_lines is not None and _lines(record.frames) > rules.max_lines:
        return "too many lines"
    if rules.max_bytes is not None and wire_size(record.frames) > rules.max_bytes:
        return "too large"
    if rules.elided and any(elided(text) for frame in record.frames for text in _texts(frame)):
        return "elided value"
    return None


def _lines(frames: Iterable[Frame]) -> int:
    return sum(frame.event is Event.LINE for frame in frames)


def wire_size(frames: Iterable[Frame]) -> int:
    """Estimate the characters of the frames on the wire, unchanged values as ``..``."""
    size = 0
    known: Mapping[str, str] = {}
    for frame in frames:
        size += len(frame.source) + len(frame.value or "") + 48
        if frame.locals is None:
            known = {} if frame.event is Event.RETURN else known
            continue
        for name, text in frame.locals.items():
            same = frame.event is Event.LINE and known.get(name) == text
            size += len(name) + 8 + (2 if same else len(text))
        known = frame.locals
    return size


def _texts(frame: Frame) -> Iterable[str]:
    return (*(frame.locals or {}).values(), *(() if frame.value is None else (frame.value,)))


_tracers: dict[tuple[str, str], Tracer] = {}


def tracer_of(config: ComponentConfig, limits: Limits) -> Tracer:
    """Return this process's tracer for a configuration, which lives as long as the process."""
    key = (config.model_dump_json(), limits.model_dump_json())
    if key not in _tracers:
        tracer = config.build(limits).__enter__()
        atexit.register(tracer.__exit__, None, None, None)
        _tracers[key] = tracer
    return _tracers[key]
