"""The process of a shell on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

from cwm_core.sandbox.descendants import Descendants

CHUNK = 65536


class LocalShellProcess:
    """A shell in a session, and mostly in a pid namespace, of its own (see `ShellProcess`)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._descendants: Descendants | None = None

    async def write(self, data: bytes) -> None:
        """Write to its standard input."""
        stream: Any = self._process.stdin
        with contextlib.suppress(ConnectionError):
            stream.write(data)
            await stream.drain()

    async def read(self) -> bytes:
        """Return some output."""
        stream: Any = self._process.stdout
        chunk: bytes = await stream.read(CHUNK)
        return chunk

    async def wait(self) -> int:
        """Return the exit code, 128 + n after signal n."""
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    async def mark(self) -> None:
        """Remember which processes there are; the first time, those that keep the shell."""
        if self._descendants is None:
            self._descendants = await asyncio.to_thread(Descendants, self._process.pid)
        else:
            await asyncio.to_thread(self._descendants.mark)

    async def kill_new(self) -> None:
        """Kill what was started since the mark."""
        if self._descendants is not None:
            await asyncio.to_thread(self._descendants.kill_new)

    async def kill(self) -> None:
        """Kill all of it, by its namespace or else its process group."""
        if self._descendants is not None and self._process.returncode is None:
            await asyncio.to_thread(self._descendants.kill_all)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
