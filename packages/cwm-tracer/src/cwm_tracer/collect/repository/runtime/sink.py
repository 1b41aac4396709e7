# ruff: noqa: PTH118
"""Where recorded bytes go: chunks appended to a file that is closed in between.

Nothing stays open, so that tests which close or count descriptors do not notice; a process that
dies loses what was not yet handed over, and nothing before. A chunk is the number of its trace (0:
the process itself), the number of bytes, and as many bytes: records as in `capture.stream`, and

| record | fields |
|---|---|
| `m` trace | JSON object: what was called, by which test |
| `k` code | number, first line, qualified name, number of the file |
| `n` note | JSON object with `note` |
"""

from __future__ import annotations

import json
import os
import struct

from cwm_tracer.capture.stream import FIELD, RECORD

CHUNK = struct.Struct("<II")

# Tests replace functions of `os`.
_open, _write, _close, _getpid, _urandom = os.open, os.write, os.close, os.getpid, os.urandom
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)


class Sink:
    """The file of one process, at most `limit` bytes long."""

    def __init__(self, directory: str, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self.rename()

    def rename(self) -> None:
        """Go on with a new file, as a forked child must."""
        name = f"stream-{_getpid()}-{_urandom(4).hex()}.bin"
        self._path = os.path.join(self._directory, name)
        self.left = self._limit

    def put(self, trace: int, text: str) -> None:
        """Append a chunk; OSError when the disk refuses."""
        data = text.encode("utf-8", "backslashreplace")
        append(self._path, CHUNK.pack(trace, len(data)) + data)
        self.left -= len(data)

    def note(self, note: str, **more: str) -> None:
        """Append a remark about the process."""
        self.put(0, f"n{FIELD}{json.dumps(dict(more, note=note))}{RECORD}")


def append(path: str, data: bytes) -> None:
    """Append to a file that need not exist."""
    descriptor = _open(path, _FLAGS, 0o644)
    try:
        while data:
            data = data[_write(descriptor, data) :]
    finally:
        _close(descriptor)
