"""JSON lines that are appended to while a run goes on, and read again when it goes on later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from cwm_core.atomic import disk_errors
from cwm_core.errors import DataError


class AppendedLines:
    """A context manager around one file; half a line at its end, left by a kill, is cut off.

    Raises RunError when the disk refuses, DataError when it is used outside of a with block.
    """

    separators: tuple[str, str] | None = None
    """Those of `json.dumps`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        with disk_errors(self.path):
            whole = self._whole() if self.path.exists() else 0
            self._file = self.path.open("r+" if self.path.exists() else "w", encoding="utf-8")
            self._file.truncate(whole)
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
            self._file = None

    def write(self, entry: Mapping[str, Any]) -> None:
        """Write an entry's line."""
        file = self._opened()
        with disk_errors(self.path):
            file.write(json.dumps(entry, separators=self.separators) + "\n")

    def flush(self) -> None:
        """Hand everything to the operating system."""
        file = self._opened()
        with disk_errors(self.path):
            file.flush()

    def _opened(self) -> IO[str]:
        if self._file is None:
            raise DataError(f"{self.path} is not open", "use it in a with block")
        return self._file

    def _whole(self) -> int:
        """Return the length in bytes of the lines that end."""
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            while size > 0:
                file.seek(size - 1)
                if file.read(1) == b"\n":
                    break
                size -= 1
        return size


class AppendedEntries(AppendedLines):
    """Lines whose entries are kept in mind, too.

    A subclass says in `_take` what an entry means; it raises ValueError, KeyError or TypeError for
    one that means nothing, with which everything after it is cut off, too.
    """

    def append(self, entry: dict[str, Any]) -> None:
        """Take an entry and write its line."""
        self.write(entry)
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        raise NotImplementedError

    def _whole(self) -> int:
        whole = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                break
            whole += len(line)
        return whole
