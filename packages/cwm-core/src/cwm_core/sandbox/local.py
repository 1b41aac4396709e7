"""Sandbox on this machine: bubblewrap, or nothing but limits where that is allowed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from cwm_core.sandbox import bubblewrap, leftovers
from cwm_core.sandbox.base import ExecResult, SandboxError, Snapshot
from cwm_core.sandbox.cgroups import ControlGroup
from cwm_core.sandbox.config import LocalSandboxConfig
from cwm_core.sandbox.disk import DiskWatch, used_below
from cwm_core.sandbox.files import FilesByCommands
from cwm_core.sandbox.local_shell import LocalShellProcess
from cwm_core.sandbox.shell import START, LastingShell
from cwm_core.sandbox.streams import Kept, feed, settle

COPY_TIMEOUT_S = 600.0
"""Seconds for taking a snapshot or starting from one."""


class LocalSandbox(FilesByCommands):
    """Two directories of this machine, the workspace and /tmp; nothing else is writable.

    Raises:
        SandboxError: this machine cannot isolate and `allow_unisolated` is off.
    """

    config: LocalSandboxConfig

    def __init__(self, config: LocalSandboxConfig, snapshot: Snapshot | None = None) -> None:
        self.config = config
        reason = bubblewrap.why_not()
        self.isolated = reason is None
        """Whether commands are kept from this machine; else they are only limited."""
        if not self.isolated and not config.allow_unisolated:
            raise SandboxError(
                f"this machine cannot isolate untrusted code: {reason}",
                "install bubblewrap and util-linux, and allow user namespaces; for code that you "
                "trust set allow_unisolated=true",
            )
        self._uid = bubblewrap.free_uid()
        self._lock = asyncio.Lock()
        self._root = Path(tempfile.mkdtemp(prefix=leftovers.SANDBOX))
        self._workspace, self._tmp = self._root / "workspace", self._root / "tmp"
        for path in (self._workspace, self._tmp):
            path.mkdir(mode=0o700)
            self._give(path)
        self._shells: set[LastingShell] = set()
        self._group = ControlGroup.make(config) if self.isolated else None
        self._disk = DiskWatch(config, lambda: used_below([self._workspace, self._tmp], config))
        leftovers.claim(self._root, self._group.directories if self._group else [])
        self._cleanup = weakref.finalize(self, leftovers.remove, self._root)
        if snapshot is not None:
            self._restore(snapshot)

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
        arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        inside, most = self._inside(cwd), self.config.output_bytes
        async with self._lock:
            return await self._run(arguments, timeout_s, inside, env or {}, stdin, most)

    @asynccontextmanager
    async def shell(
        self, *, cwd: str = ".", env: Mapping[str, str] | None = None
    ) -> AsyncIterator[LastingShell]:
        """Open a shell (see `Sandbox.shell`)."""
        inside = self._inside(cwd)

        async def start() -> LocalShellProcess:
            process = await self._spawn(START, inside, env or {}, stdin=True)
            return LocalShellProcess(process)

        shell = LastingShell(start, self.config.output_bytes, self._lock, self._disk)
        self._shells.add(shell)
        try:
            yield shell
        finally:
            await shell.close()
            self._shells.discard(shell)

    async def snapshot(self) -> LocalSnapshot:
        """Keep the workspace as it is now."""
        async with self._lock:
            self._check_open()
            return await asyncio.to_thread(self._take_snapshot)

    def _take_snapshot(self) -> LocalSnapshot:
        snapshot = LocalSnapshot()
        try:
            with snapshot.path.open("wb") as stream:
                self._tar(["-Scf", "-", "."], stdin=subprocess.DEVNULL, stdout=stream)
        except BaseException:
            shutil.rmtree(snapshot.path.parent, ignore_errors=True)
            raise
        return snapshot

    def _restore(self, snapshot: Snapshot) -> None:
        if not isinstance(snapshot, LocalSnapshot) or not snapshot.path.is_file():
            raise SandboxError("this is no snapshot of a local sandbox, or it was deleted")
        with snapshot.path.open("rb") as stream:
            self._tar(["-xpf", "-"], stdin=stream, stdout=subprocess.DEVNULL)

    async def close(self) -> None:
        """End the shells and delete the workspace."""
        for shell in list(self._shells):
            await shell.close()
        if self._cleanup.alive:
            await asyncio.to_thread(self._cleanup)

    def _inside(self, path: str) -> str:
        """Return a path for use in the workspace; without isolation it must stay there."""
        if self.isolated:
            return path
        pure = PurePosixPath(path)
        if pure.is_absolute():
            if not pure.is_relative_to(self._workspace):
                raise SandboxError(f"{path!r} is outside the workspace {self._workspace}")
            pure = pure.relative_to(self._workspace)
        if ".." in pure.parts:
            raise SandboxError(f"{path!r} contains '..'", "use paths inside the workspace")
        return str(pure)

    async def _execute(
        self, line: list[str], timeout_s: float, *, stdin: bytes, output_bytes: int
    ) -> ExecResult:
        async with self._lock:
            return await self._run(line, timeout_s, ".", {}, stdin, output_bytes)

    async def _run(
        self,
        arguments: list[str],
        timeout_s: float,
        cwd: str,
        env: Mapping[str, str],
        stdin: bytes,
        output_bytes: int,
    ) -> ExecResult:
        started = time.monotonic()
        process = await self._spawn(arguments, cwd, env, stdin=bool(stdin))
        out, err = Kept(output_bytes), Kept(output_bytes)
        assert process.stdout is not None
        assert process.stderr is not None
        streams = asyncio.gather(
            feed(process.stdin, stdin), out.read(process.stdout), err.read(process.stderr)
        )
        try:
            limit = await self._disk.wait(process.wait(), timeout_s)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await settle(streams)
            if self._group is not None and not self._shells:
                await asyncio.to_thread(self._group.kill)
        code = process.returncode or 0
        return ExecResult(
            {"time": None, "disk": 137}.get(limit, 128 - code if code < 0 else code),
            bytes(out.kept),
            bytes(err.kept),
            time.monotonic() - started,
            out.truncated or err.truncated,
            "disk" if limit == "disk" else "",
        )

    async def _spawn(
        self, arguments: list[str], cwd: str, env: Mapping[str, str], *, stdin: bool
    ) -> asyncio.subprocess.Process:
        self._check_open()
        line, directory, environment = self._command_line(self.config, arguments, cwd, env)
        try:
            return await asyncio.create_subprocess_exec(
                *line,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=directory,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise SandboxError(f"cannot run {arguments[0]!r}: {error}") from error

    def _command_line(
        self, config: LocalSandboxConfig, arguments: list[str], cwd: str, env: Mapping[str, str]
    ) -> tuple[list[str], Path | None, dict[str, str]]:
        """Return what to run, where, and in which environment."""
        if self.isolated:
            whole = self._group is not None  # then no limit per process is needed
            line = bubblewrap.command_line(
                config, self._workspace, self._tmp, self._uid, cwd, env, grouped=whole
            )
            join = self._group.join if self._group is not None else []
            path = os.environ.get("PATH", os.defpath)
            return [*join, *line, *arguments], None, {"PATH": path}
        limits = bubblewrap.limits(config) if shutil.which("prlimit") else []
        home = {"HOME": str(self._workspace)}
        environment = {**bubblewrap.environment(config), **home, **config.env, **env}
        return [*limits, *arguments], self._workspace / cwd, environment

    def _check_open(self) -> None:
        if not self._cleanup.alive:
            raise SandboxError("the sandbox is closed")

    def _give(self, path: Path) -> None:
        if self.isolated and os.geteuid() == 0:
            os.chown(path, self._uid, self._uid)

    def _tar(self, options: list[str], **streams: Any) -> None:
        """Run tar inside on a stream of ours, without the limit on the size of files."""
        unlimited = {"file_bytes": 2**62, "processes": max(64, self.config.processes)}
        config = self.config.model_copy(update=unlimited)
        line, directory, environment = self._command_line(config, ["tar", *options], ".", {})
        done = subprocess.run(
            line, cwd=directory, env=environment, stderr=subprocess.PIPE, check=False,
            timeout=COPY_TIMEOUT_S, start_new_session=True, **streams,
        )  # fmt: skip
        if done.returncode != 0:
            reason = done.stderr.decode("utf-8", "replace").strip()
            raise SandboxError(f"cannot copy the files of the sandbox: {reason[:500]}")


class LocalSnapshot:
    """A workspace as an archive of this machine."""

    def __init__(self) -> None:
        root = Path(tempfile.mkdtemp(prefix=leftovers.SNAPSHOT))
        leftovers.claim(root, [])
        self.path = root / "workspace.tar"
        """The archive."""
        self._cleanup = weakref.finalize(self, leftovers.remove, root)

    async def delete(self) -> None:
        """Delete the archive."""
        await asyncio.to_thread(self._cleanup)
