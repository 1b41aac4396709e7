"""The process of a lasting shell in a container."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from cwm_core.sandbox.base import SandboxError
from cwm_core.sandbox.shell import START
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.engine import in_thread
from cwm_forager.docker.guarded import GuardedContainer
from cwm_forager.docker.streams import Attached

KILL_S = 2.0
"""Seconds for what is killed to die."""
BUFFER = 2**20
"""Bytes of output that wait for a reader; then the shell waits."""


class DockerShellProcess:
    """A shell among the container's processes (see `ShellProcess`)."""

    def __init__(self, container: GuardedContainer) -> None:
        self._container = container
        self._output = _Pipe()
        self._code: int | None = None
        self._own: list[str] = []
        self._attached: Attached

    @classmethod
    async def start(
        cls, container: GuardedContainer, config: DockerSandboxConfig, cwd: str, env: dict[str, str]
    ) -> DockerShellProcess:
        """Start a shell."""
        shell = cls(container)
        await in_thread(lambda: container.ask("mark"))
        shell._attached = await in_thread(
            lambda: Attached(
                container.id,
                START,
                cwd=cwd,
                env=env,
                user=config.user,
                stdin=True,
                on_output=lambda stream, chunk: shell._output.put(chunk),
                on_end=shell._end,
            )
        )
        return shell

    async def write(self, data: bytes) -> None:
        """Write to its standard input."""
        await in_thread(lambda: self._attached.feed(data, close=False))

    async def read(self) -> bytes:
        """Return some output."""
        return await self._output.get()

    async def wait(self) -> int:
        """Return the exit code."""
        if self._code is None:
            self._code = await in_thread(self._attached.exit_code)
        return self._code

    async def mark(self) -> None:
        """Remember which processes there are; the first time, those that keep the shell."""
        if not self._own:
            self._own = await in_thread(lambda: self._container.ask("adopt"))
        await in_thread(lambda: self._container.ask("mark"))

    async def kill_new(self) -> None:
        """Kill what was started since the mark."""
        await in_thread(lambda: self._container.kill("sweep", KILL_S))

    async def kill(self) -> None:
        """Kill the shell and what is below it; orphans die with the last shell."""
        if not self._own:
            await self.mark()
        with contextlib.suppress(SandboxError):
            await in_thread(lambda: self._container.kill(f"end {' '.join(self._own)}", KILL_S))
        self._output.end()
        await in_thread(lambda: self._attached.finish(5))

    def _end(self, code: int | None) -> None:
        self._code = code
        self._output.end()


class _Pipe:
    """From a thread to a coroutine, in bounds."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._filled = asyncio.Event()
        self._room = threading.Condition()
        self._data = bytearray()
        self._ended = False

    def put(self, chunk: bytes) -> None:
        with self._room:
            self._room.wait_for(lambda: len(self._data) < BUFFER or self._ended)
            self._data += chunk
        self._wake()

    def end(self) -> None:
        with self._room:
            self._ended = True
            self._room.notify_all()
        self._wake()

    async def get(self) -> bytes:
        while True:
            with self._room:
                self._filled.clear()
                if self._data or self._ended:
                    data, self._data = bytes(self._data), bytearray()
                    self._room.notify_all()
                    return data
            await self._filled.wait()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._filled.set)
