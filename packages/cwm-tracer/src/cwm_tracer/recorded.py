"""What environments over recorded executions share: which traces become tasks, in which order."""

from __future__ import annotations

import hashlib
import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cwm_core.components import ComponentConfig
from cwm_core.env.environment import Task
from cwm_core.errors import DataError

if TYPE_CHECKING:
    from cwm_core.data.records import TraceRecord

_KEYS = ("trace_id", "program_id", "split", "outcome")


class RecordedConfig(ComponentConfig):
    """Tasks out of trace shards."""

    data: Path
    """Directory of trace shards, or a run directory of `cwm trace`."""
    split: str = "test"
    """The split that `tasks` yields when it is asked for none."""
    limit: int | None = None
    """Use this many traces, drawn by `seed`; a larger limit holds all traces of a smaller one."""
    seed: int = 0
    """Chooses the traces when there is a limit."""


class RecordedEnvironment(ABC):
    """Yields the tasks of an environment whose truth was recorded."""

    outcomes: ClassVar[tuple[str, ...]]
    """Executions that ended so become tasks."""

    def __init__(self, config: RecordedConfig) -> None:
        self.recorded = config
        self.directory = _shard_directory(config.data)

    @abstractmethod
    def tasks_of(self, record: TraceRecord, metadata: dict[str, Any]) -> Iterator[Task]:
        """Yield the tasks of one trace, of which there may be none."""

    def tasks(self, split: str | None = None) -> Iterator[Task]:
        """Yield the tasks in the order of the shards.

        ``metadata["rank"]`` is the trace's place in the order that `seed` draws. Raises `DataError`
        for missing or damaged shards and for a split without usable traces.
        """
        from cwm_core.data.records import TraceRecord
        from cwm_core.data.shards import read_shards

        split = split or self.recorded.split
        ranks = self._ranks(split)
        for row in read_shards(self.directory, where={"split": split}):
            rank = ranks.pop(row["trace_id"], None)
            if rank is not None and row["outcome"] in self.outcomes:
                record = TraceRecord.from_row(row)
                yield from self.tasks_of(record, _metadata(record, rank))

    def count(self, split: str | None = None) -> int:
        """Return the number of traces that `tasks` draws on; raises `DataError` as it does."""
        return len(self._ranks(split or self.recorded.split))

    def _ranks(self, split: str) -> dict[str, int]:
        from cwm_core.data.shards import read_shards

        rows = list(read_shards(self.directory, list(_KEYS)))
        found = {
            r["trace_id"] for r in rows if r["split"] == split and r["outcome"] in self.outcomes
        }
        if not found:
            raise _nothing_to_predict(self.directory, split, rows)
        limit = len(found) if self.recorded.limit is None else self.recorded.limit
        drawn = heapq.nsmallest(limit, found, key=self._draw)
        return {trace_id: rank for rank, trace_id in enumerate(drawn)}

    def _draw(self, trace_id: str) -> bytes:
        return hashlib.sha256(f"{self.recorded.seed}:{trace_id}".encode()).digest()


def _metadata(record: TraceRecord, rank: int) -> dict[str, Any]:
    return {
        "program_id": record.program_id,
        "origin": record.origin,
        "entry": record.entry,
        "input": record.input,
        "difficulty": record.difficulty,
        "constructs": list(record.constructs),
        "outcome": str(record.outcome),
        "rank": rank,
    }


def _shard_directory(path: Path) -> Path:
    inner = path / "traces"
    return inner if inner.is_dir() and not any(path.glob("*.parquet")) else path


def _nothing_to_predict(directory: Path, split: str, rows: list[dict[str, Any]]) -> DataError:
    splits = Counter(row["split"] for row in rows)
    if not rows:
        return DataError(f"the shards in {directory} hold no traces", "trace programs first")
    if split in splits:
        return DataError(
            f"none of the {splits[split]} traces of split '{split}' in {directory} is complete",
            "trace programs that finish within their limits",
        )
    known = ", ".join(f"{name} ({count})" for name, count in sorted(splits.items()))
    return DataError(f"{directory} has no traces of split '{split}'", f"it has: {known}")
