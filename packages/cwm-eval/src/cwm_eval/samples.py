"""Samples: one JSON line per task, appended as it finishes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cwm_core.appended import AppendedLines
from cwm_core.errors import DataError


@dataclass(frozen=True, slots=True)
class Sample:
    """What came of one task; exactly one of `result`, `error` and `skipped` is set.

    `error` is an infrastructure failure (the engine, the network): never scored, tried again at the
    next start. `skipped` says why the benchmark cannot ask this task at all.
    """

    task_id: str
    metadata: Mapping[str, Any]
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    skipped: str | None = None
    attempts: int = 1
    elapsed_s: float = 0.0
    """Wall time since the sample before it was saved; sums up to the time of a run."""

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to do for this task."""
        return self.error is None


class SampleFile(AppendedLines):
    """An append-only samples.jsonl; safe against a process killed in the middle of a line.

    Opening it cuts a half-written last line off. A task that appears again replaces its earlier
    line. Raises `DataError` for a damaged line anywhere else, `RunError` when the disk refuses.
    """

    separators = (",", ":")

    def append(self, sample: Sample) -> None:
        """Write one line and hand it to the operating system at once."""
        self.write(asdict(sample))
        self.flush()

    def finished(self) -> set[str]:
        """Return the ids of the tasks that need no further work."""
        states = {sample.task_id: sample.is_final for sample in read_lines(self.path)}
        return {task_id for task_id, final in states.items() if final}


def read_lines(path: Path) -> Iterator[Sample]:
    """Yield every line of a samples.jsonl in order; a half-written last one is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                yield Sample(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{path} line {number} is no sample: {error}",
                    "delete this line; its task is then evaluated again",
                ) from error


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the last line of every task, in the order in which tasks first finished."""
    last: dict[str, int] = {}
    for number, sample in enumerate(read_lines(path)):
        last[sample.task_id] = number
    wanted = set(last.values())
    for number, sample in enumerate(read_lines(path)):
        if number in wanted:
            yield sample
