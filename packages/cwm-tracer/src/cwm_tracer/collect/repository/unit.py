"""What a worker does: run one test file untraced and traced, and rebuild its traces."""

from __future__ import annotations

import atexit
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError
from cwm_tracer.collect.recording import Recorded, drop_reason
from cwm_tracer.collect.repository.config import TestsConfig
from cwm_tracer.collect.repository.cutting import Trace, trace_of
from cwm_tracer.collect.repository.outcomes import differences
from cwm_tracer.collect.repository.repository import name_of
from cwm_tracer.collect.repository.session import PytestRun, Session
from cwm_tracer.collect.repository.streams import Stream, read_stream


@dataclass(frozen=True, slots=True)
class Found:
    """A trace to keep, or why it is left out."""

    recorded: Recorded
    trace: Trace | None


@dataclass(slots=True)
class FileResult:
    """What came of a test file."""

    file: str
    found: list[Found] = field(default_factory=list)
    untraced: dict[str, str] = field(default_factory=dict)
    """Outcomes by test id."""
    differences: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Tests whose outcomes differ between the untraced and the traced run."""
    flaky: list[str] = field(default_factory=list)
    """Tests whose outcomes differ between two untraced runs."""
    notes: list[dict[str, Any]] = field(default_factory=list)
    """What the recorder refused, and why."""
    counts: dict[str, int] = field(default_factory=dict)
    """Calls that were recorded, but are not among `found`, by reason."""
    seconds: tuple[float, float] = (0.0, 0.0)
    """Duration of the untraced and of the traced run."""


@dataclass(frozen=True, slots=True)
class RunTestFile:
    """Runs test files in one sandbox per process; picklable."""

    config: TestsConfig
    archive: Path

    def __call__(self, file: str) -> FileResult:
        """Run a test file."""
        session, index = _session_of(self.config, self.archive)
        untraced = session.run(file, trace=False)
        traced = session.run(file, trace=True)
        result = FileResult(file, untraced=untraced.outcomes.tests)
        result.seconds = untraced.seconds, traced.seconds
        different = differences(untraced.outcomes, traced.outcomes)
        if different:
            again = session.run(file, trace=False)
            result.flaky = sorted(differences(untraced.outcomes, again.outcomes))
        result.differences = {name: different[name] for name in different.keys() - result.flaky}
        _file_traces(result, traced, index, self.config)
        return result


def _file_traces(
    result: FileResult, run: PytestRun, index: Mapping[str, Any], config: TestsConfig
) -> None:
    """Rebuild the traces of a run; of each place in a reservoir the last one counts."""
    counts: Counter[str] = Counter()
    for process, (_, data) in enumerate(sorted(run.streams.items())):
        stream = read_stream(data)
        result.notes += stream.notes
        counts["damaged"] += stream.damaged
        result.found += _chosen(stream, f"{result.file}#{process}", index, config, counts)
    result.counts = dict(+counts)


def _chosen(
    stream: Stream,
    name: str,
    index: Mapping[str, Any],
    config: TestsConfig,
    counts: Counter[str],
) -> list[Found]:
    kept: dict[str, Found] = {}
    dropped: list[Found] = []
    origin = f"tests:{name_of(config.repository)}"
    for number, cut in enumerate(stream.cuts):
        try:
            trace = trace_of(cut, index, origin)
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            counts["damaged"] += 1
            continue
        record = trace.record
        reason = drop_reason(record, config.drop)
        if reason is None:
            counts["replaced in the reservoir"] += trace.place in kept
            recorded = Recorded(record.trace_id, record.outcome, record.events, record.to_row())
            kept[trace.place] = Found(recorded, trace)
        else:
            # Cut short, a trace is no name for what was called.
            label = f"{record.program_id} {name}.{number}"
            fields = (record.outcome.value, record.events, None, reason, record.reason)
            dropped.append(Found(Recorded(label, *fields), None))
    return [*kept.values(), *dropped]


_sessions: dict[tuple[str, str], tuple[Session, dict[str, Any]]] = {}


def _session_of(config: TestsConfig, archive: Path) -> tuple[Session, dict[str, Any]]:
    """Return this process's sandbox for a configuration, which lives as long as the process."""
    key = (config.model_dump_json(), str(archive))
    if key not in _sessions:
        try:
            packed = archive.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {archive}: {error.strerror}") from error
        session = Session(config, packed)
        atexit.register(session.close)
        _sessions[key] = session, session.index()
    return _sessions[key]
