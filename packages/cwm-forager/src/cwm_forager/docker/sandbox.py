"""Sandbox in a container: commands through the engine, their end through the guard inside."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from cwm_core.env.concurrency import uninterrupted
from cwm_core.sandbox.base import ExecResult, SandboxError, Snapshot
from cwm_core.sandbox.disk import DiskWatch
from cwm_core.sandbox.files import FilesByCommands
from cwm_core.sandbox.shell import LastingShell
from cwm_forager.docker.config import DockerSandboxConfig
from cwm_forager.docker.disk import ContainerDisk
from cwm_forager.docker.engine import engine, engine_errors, in_thread
from cwm_forager.docker.guarded import GuardedContainer
from cwm_forager.docker.labels import labels_of
from cwm_forager.docker.shell import DockerShellProcess
from cwm_forager.docker.streams import Attached, Outputs, Waiter

SNAPSHOTS = "cwm-snapshot"
"""Repository of the images that snapshots are."""
SWEEP_S = 2.0
"""Seconds to kill what one command left while shells live on."""
FINISH_S = 30.0
"""Seconds for everything to die, and then for the streams to end."""


class DockerSandbox(FilesByCommands):
    """One container; its files last until `close`, or until this process ends in whatever way.

    Raises:
        SandboxError: there is no engine, no such image, or the container does not start.
    """

    config: DockerSandboxConfig

    def __init__(self, config: DockerSandboxConfig, snapshot: Snapshot | None = None) -> None:
        if snapshot is not None and not isinstance(snapshot, DockerSnapshot):
            raise SandboxError("this is no snapshot of a Docker sandbox")
        if snapshot is not None and config.read_only_root:
            raise SandboxError(
                "a sandbox with read_only_root starts from no snapshot",
                "its working directory is in memory: use read_only_root=false",
            )
        self.config = config
        self.container = GuardedContainer.start(
            config, snapshot.image if snapshot else config.image
        )
        """The container; its `id` names it to the engine."""
        self._cleanup = weakref.finalize(self, _close, self.container)
        self._lock = asyncio.Lock()
        self._shells: set[LastingShell] = set()
        self._disk = DiskWatch(config, ContainerDisk(self.container.id, config).measure)

    async def exec(
        self,
        command: str | Sequence[str],
        timeout_s: float,
        *,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> ExecResult:
        """Run a command (see `Sandbox.exec`)."""
        line = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        async with self._lock:
            return await self._run(line, timeout_s, cwd, env, stdin, self.config.output_bytes)

    @asynccontextmanager
    async def shell(
        self, *, cwd: str = ".", env: Mapping[str, str] | None = None
    ) -> AsyncIterator[LastingShell]:
        """Open a shell (see `Sandbox.shell`)."""

        async def start() -> DockerShellProcess:
            self._check_open()
            return await DockerShellProcess.start(self.container, self.config, cwd, dict(env or {}))

        shell = LastingShell(start, self.config.output_bytes, self._lock, self._disk)
        self._shells.add(shell)
        try:
            yield shell
        finally:
            async with self._lock:
                await shell.close()
                self._shells.discard(shell)
                if not self._shells and self._cleanup.alive:
                    await self._kill("all")

    async def snapshot(self) -> DockerSnapshot:
        """Store the container's files as an image of this process."""
        if self.config.read_only_root:
            raise SandboxError(
                "a sandbox with read_only_root has no snapshots", "use read_only_root=false"
            )
        async with self._lock:
            self._check_open()
            return await in_thread(lambda: DockerSnapshot.take(self.container.id))

    async def close(self) -> None:
        """Delete the container."""
        if self._cleanup.alive:
            await uninterrupted(in_thread(lambda: self._cleanup() and None))

    def _inside(self, path: str) -> str:
        return path

    async def _execute(
        self, line: list[str], timeout_s: float, *, stdin: bytes, output_bytes: int
    ) -> ExecResult:
        async with self._lock:
            return await self._run(line, timeout_s, ".", None, stdin, output_bytes)

    async def _run(
        self,
        line: list[str],
        timeout_s: float,
        cwd: str,
        env: Mapping[str, str] | None,
        stdin: bytes,
        output_bytes: int,
    ) -> ExecResult:
        self._check_open()
        started = time.monotonic()
        outputs, end = Outputs(output_bytes), Waiter()
        if self._shells:
            await in_thread(lambda: self.container.ask("mark"))
        attached = await in_thread(
            lambda: Attached(
                self.container.id,
                line,
                cwd=cwd,
                env=dict(env or {}),
                user=self.config.user,
                stdin=bool(stdin),
                on_output=outputs.take,
                on_end=end.set,
            )
        )
        limit: Literal["", "time", "disk"] = ""
        feeding = asyncio.ensure_future(_feed(attached, stdin))
        try:
            limit = await self._disk.wait(end.wait(), timeout_s)
        finally:
            await uninterrupted(self._finish(attached, feeding))
        code = None if limit == "time" else 137 if limit == "disk" else await end.wait()
        if code is None and limit != "time":
            code = await in_thread(attached.exit_code)
        return ExecResult(
            code,
            bytes(outputs.out.kept),
            bytes(outputs.err.kept),
            time.monotonic() - started,
            outputs.out.truncated or outputs.err.truncated,
            "disk" if limit == "disk" else "",
        )

    async def _finish(self, attached: Attached, feeding: asyncio.Future[None]) -> None:
        try:
            await self._kill("sweep" if self._shells else "all")
        finally:
            await in_thread(lambda: attached.finish(FINISH_S))
            await feeding

    async def _kill(self, how: str) -> None:
        """Kill what a command left; where that breeds faster than it dies, the shells die too."""
        if how != "all" and await in_thread(lambda: self.container.kill(how, SWEEP_S)):
            return
        if not await in_thread(lambda: self.container.kill("all", FINISH_S)):
            await self.close()
            raise SandboxError("processes of the container cannot be killed; it was deleted")

    def _check_open(self) -> None:
        if not self._cleanup.alive:
            raise SandboxError("the sandbox is closed")


class DockerSnapshot:
    """An image that belongs to this process."""

    def __init__(self, image: str) -> None:
        self.image = image
        """Name of the image."""

    @classmethod
    def take(cls, container_id: str) -> DockerSnapshot:
        """Store a container's files; it stands still meanwhile."""
        tag = uuid.uuid4().hex
        changes = [f"LABEL {_quoted(k)}={_quoted(v)}" for k, v in labels_of("snapshot").items()]
        with engine_errors("take a snapshot"):
            engine().commit(container_id, repository=SNAPSHOTS, tag=tag, changes="\n".join(changes))
        return cls(f"{SNAPSHOTS}:{tag}")

    async def delete(self) -> None:
        """Delete the image; containers that were made from it stay."""
        await in_thread(self._delete)

    def _delete(self) -> None:
        import docker

        with engine_errors("delete a snapshot"), contextlib.suppress(docker.errors.ImageNotFound):
            engine().remove_image(self.image, force=True)


async def _feed(attached: Attached, stdin: bytes) -> None:
    if stdin:
        await in_thread(lambda: attached.feed(stdin, close=True))


def _close(container: GuardedContainer) -> None:
    container.close()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
