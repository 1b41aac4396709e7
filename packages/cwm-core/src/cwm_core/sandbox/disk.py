"""How much disk a directory takes, whoever writes in it meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cwm_core.sandbox.config import SandboxLimits

TIMEOUT_S = 60.0
PERIOD_S = 0.5
"""Seconds between measurements, at least; slow ones take a tenth of the time."""


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes in blocks, so that holes count nothing, and files and directories."""

    bytes: int
    files: int


def used_below(directories: Sequence[Path]) -> DiskUse:
    """Measure directories with ``du``, which follows no link and takes any depth.

    What cannot be measured counts as nothing: what vanishes meanwhile, what ``du`` takes more than
    a minute for, and what an unprivileged user is not allowed to read.
    """
    return DiskUse(_du(["--block-size=1"], directories), _du(["--inodes"], directories))


def _du(options: list[str], directories: Sequence[Path]) -> int:
    line = ["du", "--summarize", "--one-file-system", "--total", *options, "--"]
    try:
        done = subprocess.run(
            [*line, *map(str, directories)], capture_output=True, timeout=TIMEOUT_S, check=False
        )
        return int(done.stdout.rsplit(b"\n", 2)[-2].split(b"\t")[0])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return 0


class DiskWatch:
    """The limits on what a sandbox writes, checked while its commands run and after them."""

    def __init__(self, limits: SandboxLimits, measure: Callable[[], DiskUse]) -> None:
        self._limits, self._measure = limits, measure
        self._measured, self._pause = 0.0, PERIOD_S

    async def wait(self, work: Awaitable[Any], timeout_s: float) -> Literal["", "time", "disk"]:
        """Wait for the end of a command's `work`; return the limit that it reached, if any.

        The work is cancelled at a limit; what it raises is raised.
        """
        deadline = time.monotonic() + timeout_s
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
                if await self._is_full():
                    return "disk"
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _is_full(self) -> bool:
        """Measure, unless that was done a moment ago."""
        started = time.monotonic()
        if started - self._measured < self._pause:
            return False
        use = await asyncio.to_thread(self._measure)
        self._measured = time.monotonic()
        self._pause = max(PERIOD_S, 10 * (self._measured - started))
        return use.bytes > self._limits.disk_bytes or use.files > self._limits.disk_files
