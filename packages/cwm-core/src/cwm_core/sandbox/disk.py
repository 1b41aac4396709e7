"""How much disk a directory takes, whoever writes in it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cwm_core.sandbox.config import SandboxLimits

DEEPEST = 400
"""Directories in one another that are measured; each takes a descriptor meanwhile."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
PERIOD_S = 0.5
"""Seconds between measurements, at least; slow ones take a tenth of the time."""
GRACE_S = 10.0
"""Seconds that a command has which begins above a limit: it may be there to delete something."""
GRACES = 3
"""Such commands in a row, so that what is written above the limit stays bounded."""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes in blocks, so that holes count nothing, and files and directories."""

    bytes: int
    files: int


def used_below(directories: Sequence[Path], limits: SandboxLimits) -> DiskUse:
    """Measure directories, no further than to what is above a limit; links are not followed.

    What vanishes meanwhile, and what an unprivileged user is not allowed to read, counts nothing.
    A tree deeper than `DEEPEST` counts as above the limit on files.
    """
    counter = _Counter(limits)
    for directory in directories:
        with contextlib.suppress(OSError):
            counter.add(os.open(directory, _DIRECTORY))
    return DiskUse(counter.bytes, counter.files)


class _Counter:
    def __init__(self, limits: SandboxLimits) -> None:
        self._limits = limits
        self.bytes = self.files = 0
        self._linked: set[int] = set()

    def add(self, root: int) -> None:
        """Count what is below an open directory, and close it."""
        stack = [(root, os.scandir(root))]
        try:
            while stack and not self._is_over():
                directory, entries = stack[-1]
                entry = next(entries, None)
                if entry is None:
                    entries.close()
                    os.close(directory)
                    stack.pop()
                elif self._count(entry):
                    with contextlib.suppress(OSError):
                        deeper = os.open(entry.name, _DIRECTORY, dir_fd=directory)
                        stack.append((deeper, os.scandir(deeper)))
                if len(stack) > DEEPEST:
                    self.files = self._limits.disk_files + 1
        finally:
            for directory, entries in stack:
                entries.close()
                os.close(directory)

    def _count(self, entry: os.DirEntry[str]) -> bool:
        """Count an entry; return whether it is a directory."""
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return False
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if status.st_ino in self._linked:
                return False
            self._linked.add(status.st_ino)
        self.files += 1
        self.bytes += 512 * status.st_blocks
        return stat.S_ISDIR(status.st_mode)

    def _is_over(self) -> bool:
        return self.bytes > self._limits.disk_bytes or self.files > self._limits.disk_files


class DiskWatch:
    """The limits on what a sandbox writes, checked while its commands run and after them."""

    def __init__(self, limits: SandboxLimits, measure: Callable[[], DiskUse]) -> None:
        self._limits, self._measure = limits, measure
        self._measured, self._pause = 0.0, PERIOD_S
        self._over, self._graces = False, 0

    async def wait(self, work: Awaitable[Any], timeout_s: float) -> Literal["", "time", "disk"]:
        """Wait for the end of a command's `work`; return the limit that it reached, if any.

        The work is cancelled at a limit; what it raises is raised.
        """
        deadline = time.monotonic() + timeout_s
        tolerated = time.monotonic() + self._grace()
        task = asyncio.ensure_future(work)
        try:
            while True:
                left = deadline - time.monotonic()
                await asyncio.wait({task}, timeout=max(0.0, min(left, self._pause)))
                if task.done():
                    task.result()
                    return "disk" if await self._is_full() else ""
                if time.monotonic() >= deadline:
                    return "time"
                if await self._is_full() and time.monotonic() >= tolerated:
                    return "disk"
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _grace(self) -> float:
        """Return how long a command that begins now may be above a limit."""
        if not self._over or self._graces >= GRACES:
            return 0.0
        self._graces += 1
        return GRACE_S

    async def _is_full(self) -> bool:
        """Measure, unless that was done a moment ago."""
        started = time.monotonic()
        if started - self._measured < self._pause:
            return False
        use = await asyncio.to_thread(self._measure)
        self._measured = time.monotonic()
        self._pause = max(PERIOD_S, 10 * (self._measured - started))
        self._over = use.bytes > self._limits.disk_bytes or use.files > self._limits.disk_files
        if not self._over:
            self._graces = 0
        return self._over
