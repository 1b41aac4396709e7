"""A file of JSON lines that is appended to, and read again on a restart."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from cwm_core.atomic import disk_errors


class AppendedLines:
    """A context manager around one file; half a line at its end, left by a kill, is cut off.

    A subclass says in `_take` what an entry means; it raises ValueError, KeyError or TypeError for
    one that means nothing, with which everything after it is cut off, too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

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

    def append(self, entry: dict[str, Any]) -> None:
        """Take an entry and write its line."""
        assert self._file is not None
        with disk_errors(self._path):
            self._file.write(json.dumps(entry) + "\n")
        self._take(entry)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        assert self._file is not None
        with disk_errors(self._path):
            self._file.flush()

    def _take(self, entry: dict[str, Any]) -> None:
        raise NotImplementedError

    def _read(self) -> int:
        """Read the entries there are; return the length of what is whole."""
        if not self._path.exists():
            return 0
        whole = 0
        for line in self._path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                break
            whole += len(line)
        return whole
