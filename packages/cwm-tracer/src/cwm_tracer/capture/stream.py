"""The bytes between the traced process and the one that reads them, in shared memory.

The region begins with the length of what is committed (8 bytes, in the machine's byte order).
Records follow, each ended by ``\\x1e``, with fields separated by ``\\x1f``. Since the writer
commits after each record, a process that dies at any moment leaves everything it recorded before.

| record | fields |
|---|---|
| `k` code | number, first line, qualified name |
| `c` call, `s` resume | frame, line, depth, code; then name, text pairs that changed |
| `l` line | frame, line; then name, text pairs that changed; an empty text: the name is gone |
| `r` return, `y` yield or await, `e` exception | frame, line, text |
| `t` track of the calls and resumes that follow | track, thread; 0, 0 at first |
| `o` stdout | base64 |
| `p` phase | name |
| `d` entry | line of its `def` |
| `x` end | JSON object with `outcome`, `reason` |

Uses the standard library only: the writer runs inside the process of the traced program.
"""

from __future__ import annotations

import mmap
import os
import struct

FIELD = "\x1f"
RECORD = "\x1e"
HEADER = struct.Struct("@Q")


class FullError(Exception):
    """The region has no room for another record."""


class Region:
    """The writing side: appends records to a shared mapping."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._size = size
        self.room = size - 4096
        self.map = mmap.mmap(descriptor, size)
        self._committed = memoryview(self.map)[: HEADER.size].cast("Q")

    def reset(self) -> None:
        """Forget all records and give the memory back; nobody else may be writing."""
        if self._end_committed() > 1 << 20:
            os.ftruncate(self._descriptor, 0)
        os.ftruncate(self._descriptor, self._size)
        self._committed[0] = HEADER.size

    def _end_committed(self) -> int:
        """Return how far an earlier writer came; read from the file, which may have shrunk."""
        head = os.pread(self._descriptor, HEADER.size, 0)
        return int(HEADER.unpack(head)[0]) if len(head) == HEADER.size else self._size

    def write(self, record: str) -> None:
        """Append and commit one record, given with its end mark.

        Raises:
            FullError: it does not fit.
        """
        data = record.encode("utf-8", "backslashreplace")
        start = self._committed[0]
        end = start + len(data)
        # Room for the end record is always left.
        if end > self.room and record[0] != "x":
            raise FullError
        self.map[start:end] = data
        self._committed[0] = end


def read_region(descriptor: int, size: int) -> str:
    """Return all committed records; whatever the bytes are, this does not raise."""
    head = os.pread(descriptor, HEADER.size, 0)
    if len(head) < HEADER.size:
        return ""
    end = min(HEADER.unpack(head)[0], size)
    data = bytearray()
    while HEADER.size + len(data) < end:
        chunk = os.pread(descriptor, end - HEADER.size - len(data), HEADER.size + len(data))
        if not chunk:
            break
        data += chunk
    return data.decode("utf-8", "replace")
