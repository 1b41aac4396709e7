"""One process per run directory; the kernel frees the lock of a process that dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import IO

from cwm_core.atomic import disk_errors
from cwm_core.errors import RunError

_held: set[Path] = set()


class RunLock:
    """Context manager that holds ``.lock`` in a directory; RunError when another one does.

    POSIX record locks belong to a process: forked workers that outlive a killed parent do not
    keep it. They do not exclude the same process, so `_held` does.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._path = self._directory / ".lock"
        self._file: IO[str] | None = None

    def __enter__(self) -> RunLock:
        if self._directory in _held:
            raise self._busy(os.getpid())
        with disk_errors(self._path):
            self._file = self._path.open("a+")
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise self._busy(self._owner()) from None
        _held.add(self._directory)
        return self

    def __exit__(self, *exception: object) -> None:
        _held.discard(self._directory)
        if self._file is not None:
            self._file.close()

    def _owner(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads((self._directory / "status.json").read_text())["pid"])
        return None

    def _busy(self, pid: int | None) -> RunError:
        by = f" (pid {pid})" if pid else ""
        return RunError(
            f"another process{by} is running in '{self._directory}'",
            "wait for it, stop it, or choose another out=",
        )
