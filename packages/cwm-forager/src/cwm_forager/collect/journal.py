"""The journal of a collection: what was begun, and finished rows that are in no shard yet.

A finished row is on the disk before it counts; shards take rows over in bulk. A row may be in both
for a moment, so that its id decides: a process that is killed at any point loses no finished row
and writes none twice.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cwm_core.appended import AppendedEntries
from cwm_core.atomic import atomic_write, disk_errors
from cwm_core.data.records import TRAJECTORY_SCHEMA
from cwm_core.data.shards import ShardWriter, read_shards


class _Lines(AppendedEntries):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.rows: dict[str, dict[str, Any]] = {}
        self.claims: Counter[str] = Counter()

    def _take(self, entry: dict[str, Any]) -> None:
        if "claim" in entry:
            self.claims[entry["claim"]] += 1
        else:
            self.rows[entry["row"]["trajectory_id"]] = entry["row"]

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        self.flush()
        with disk_errors(self.path):
            os.fsync(self._opened().fileno())


class Journal:
    """A context manager around ``journal.jsonl`` and ``trajectories/`` of a run directory.

    Raises RunError when the disk refuses, DataError for a damaged shard.
    """

    def __init__(self, directory: Path, rows_per_shard: int) -> None:
        self.path = directory / "journal.jsonl"
        self._rows_per_shard = rows_per_shard
        self._writer = ShardWriter(
            directory / "trajectories",
            TRAJECTORY_SCHEMA,
            rows_per_shard=10**9,  # this journal decides when
            seconds_per_shard=float("inf"),
        )

    def __enter__(self) -> Self:
        self._writer.__enter__()
        self._lines = _Lines(self.path)
        self._lines.__enter__()
        stored = self._writer.done_keys("trajectory_id")
        for name in stored & set(self._lines.rows):
            del self._lines.rows[name]
        self._done = stored | set(self._lines.rows)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.__exit__(kind, error, traceback)
        self._writer.__exit__(kind, error, traceback)

    @property
    def done(self) -> frozenset[str]:
        """Ids of the finished episodes."""
        return frozenset(self._done)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the finished rows, those in shards first; without token ids and texts."""
        columns = [name for name in TRAJECTORY_SCHEMA.names if name != "turns"]
        if self._writer.rows:
            for row in read_shards(self._writer.directory, columns):
                yield {**row, "turns": []}
        for row in self._lines.rows.values():
            yield {**row, "turns": []}

    def claims(self, name: str) -> int:
        """Return how often an unfinished episode was begun, by earlier processes too."""
        return self._lines.claims[name]

    def claim(self, name: str) -> None:
        """Note that an episode begins."""
        self._lines.append({"claim": name})
        self._lines.flush()

    def finish(self, row: Mapping[str, Any]) -> None:
        """Keep a finished trajectory; one whose id is finished already is left out."""
        name = row["trajectory_id"]
        if name in self._done:
            return
        self._lines.append({"row": dict(row)})
        self._lines.sync()
        self._done.add(name)
        if len(self._lines.rows) >= self._rows_per_shard:
            self.store()

    def store(self) -> None:
        """Move finished rows into a shard, and forget them and their claims here."""
        for row in self._lines.rows.values():
            self._writer.write(row)
        self._writer.flush()
        open_claims = [
            {"claim": name}
            for name, count in self._lines.claims.items()
            for _ in range(count)
            if name not in self._done
        ]
        self._lines.__exit__(None, None, None)
        atomic_write(self.path, "".join(json.dumps(each) + "\n" for each in open_claims))
        self._lines = _Lines(self.path)
        self._lines.__enter__()

    def close_shards(self) -> None:
        """Store everything and write the manifest."""
        self.store()
        self._writer.finish()
