"""The list of executions that were left out, appended line by line and read again on a restart."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cwm_core.atomic import disk_errors


class Journal:
    """JSON lines ``{"trace_id", "rule", "outcome", "reason"}``; half a line at the end is cut."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.ids: set[str] = set()
        """Trace ids of everything left out so far."""
        self.counts: Counter[str] = Counter()
        """How many were left out, by rule."""

    def __enter__(self) -> Self:
        with disk_errors(self._path):
            kept = self._read()
            self._file = self._path.open("r+" if self._path.exists() else "w", encoding="utf-8")
            self._file.truncate(kept)
            self._file.seek(0, 2)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, trace_id: str, rule: str, outcome: str = "", reason: str = "") -> None:
        """Append one execution, or one program whose executions are all left out."""
        assert self._file is not None
        if trace_id in self.ids:
            return
        entry = {"trace_id": trace_id, "rule": rule, "outcome": outcome, "reason": reason}
        with disk_errors(self._path):
            self._file.write(json.dumps(entry) + "\n")
        self._count(trace_id, rule)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        assert self._file is not None
        with disk_errors(self._path):
            self._file.flush()

    def _read(self) -> int:
        """Read the entries there are; return the length of what is whole."""
        if not self._path.exists():
            return 0
        whole = 0
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                entry = json.loads(line)
                self._count(entry["trace_id"], entry["rule"])
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            whole += len(line)
        return whole

    def _count(self, trace_id: str, rule: str) -> None:
        self.ids.add(trace_id)
        self.counts[rule] += 1
