"""The limit on what a container writes to disk: measured, since few drivers enforce one."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Literal

from cwm_core.sandbox.disk import DiskUse, used_below
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import engine, engine_errors, in_thread

PERIOD_S = 0.5
"""Seconds between measurements, at least; those that take longer come at a tenth of the time."""


class DiskWatch:
    """Watches what one container adds to its image."""

    def __init__(self, container_id: str, config: DockerSandboxConfig) -> None:
        self._id, self._config = container_id, config
        self._directory: Path | None = None
        self._asked = False

    async def wait(self, end: Awaitable[Any], timeout_s: float) -> Literal["", "time", "disk"]:
        """Wait for a command's end; return the limit that it reached before, if any."""
        deadline = time.monotonic() + timeout_s
        task = asyncio.ensure_future(end)
        pause = PERIOD_S
        try:
            while True:
                left = deadline - time.monotonic()
                await asyncio.wait({task}, timeout=max(0, min(left, pause)))
                if task.done():
                    return ""
                if time.monotonic() >= deadline:
                    return "time"
                started = time.monotonic()
                if await in_thread(self.is_full):
                    return "disk"
                pause = max(PERIOD_S, 10 * (time.monotonic() - started))
        finally:
            task.cancel()

    def is_full(self) -> bool:
        """Measure."""
        if self._config.read_only_root:
            return False
        use = self._measure()
        return use.bytes > self._config.disk_bytes or use.files > self._config.disk_files

    def _measure(self) -> DiskUse:
        """Ask the files where they are on this machine, else the engine, which counts no files."""
        if not self._asked:
            self._asked = True
            with engine_errors("inspect a container"):
                data = engine().inspect_container(self._id).get("GraphDriver", {}).get("Data") or {}
            upper = data.get("UpperDir")
            if upper and os.access(upper, os.R_OK | os.X_OK):
                self._directory = Path(upper)
        if self._directory is not None:
            return used_below([self._directory])
        with engine_errors("measure a container"):
            answer = engine()._result(
                engine()._get(
                    engine()._url("/containers/{0}/json", self._id), params={"size": True}
                ),
                True,
            )
        return DiskUse(int(answer.get("SizeRw") or 0), 0)
