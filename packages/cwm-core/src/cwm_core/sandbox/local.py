"""Sandbox on this machine: bubblewrap, or nothing but limits where that is allowed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cwm_core.sandbox import bubblewrap
from cwm_core.sandbox.base import ExecResult, SandboxError
from cwm_core.sandbox.config import LocalSandboxConfig

FILE_TIMEOUT_S = 60.0
"""Seconds for reading or writing one file."""


class LocalSandbox:
    """A directory of this machine as workspace, and nothing else writable.

    Raises:
        SandboxError: this machine cannot isolate and `allow_unisolated` is off.
    """

    def __init__(self, config: LocalSandboxConfig) -> None:
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
        self._workspace = Path(tempfile.mkdtemp(prefix="cwm-sandbox-"))
        if self.isolated and os.geteuid() == 0:
            os.chown(self._workspace, self._uid, self._uid)
        self._cleanup = weakref.finalize(self, shutil.rmtree, self._workspace, ignore_errors=True)

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
        if not self._cleanup.alive:
            raise SandboxError("the sandbox is closed")
        arguments = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        cwd = self._inside(cwd)
        if self.isolated:
            line = bubblewrap.command_line(self.config, self._workspace, self._uid, cwd, env or {})
            directory, environment = None, {"PATH": os.environ.get("PATH", os.defpath)}
        else:
            line = bubblewrap.limits(self.config) if shutil.which("prlimit") else []
            directory = self._workspace / cwd
            home = {"HOME": str(self._workspace)}
            environment = {**bubblewrap.environment(self.config), **home, **(env or {})}
        return await self._run([*line, *arguments], timeout_s, directory, environment, stdin)

    async def read_file(self, path: str) -> bytes:
        """Return a file's content, read inside the sandbox: links lead nowhere else."""
        inside = self._inside(path)
        result = await self.exec(["cat", "--", f"./{inside}"], FILE_TIMEOUT_S)
        if result.exit_code != 0:
            raise SandboxError(f"cannot read {path!r} in the sandbox: {_reason(result)}")
        if result.truncated:
            raise SandboxError(
                f"{path!r} in the sandbox is larger than {self.config.output_bytes} bytes",
                "raise output_bytes",
            )
        return result.stdout

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a file inside the sandbox."""
        script = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1"'
        line = ["/bin/sh", "-c", script, "sh", f"./{self._inside(path)}"]
        result = await self.exec(line, FILE_TIMEOUT_S, stdin=content)
        if result.exit_code != 0:
            raise SandboxError(f"cannot write {path!r} in the sandbox: {_reason(result)}")

    async def close(self) -> None:
        """Delete the workspace."""
        if self._cleanup.alive:
            await self.exec("find . -type d ! -perm -u=rwx -exec chmod u+rwx {} +", FILE_TIMEOUT_S)
            await asyncio.to_thread(self._cleanup)

    def _inside(self, path: str) -> str:
        """Return a path relative to the workspace."""
        pure = PurePosixPath(path)
        if pure.is_absolute():
            root = bubblewrap.WORKSPACE if self.isolated else str(self._workspace)
            if not pure.is_relative_to(root):
                raise SandboxError(f"{path!r} is outside the workspace", f"use paths in {root}")
            pure = pure.relative_to(root)
        if ".." in pure.parts:
            raise SandboxError(f"{path!r} contains '..'", "use paths inside the workspace")
        return str(pure)

    async def _run(
        self,
        line: list[str],
        timeout_s: float,
        directory: Path | None,
        environment: Mapping[str, str],
        stdin: bytes,
    ) -> ExecResult:
        started = time.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *line,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=directory,
                env=dict(environment),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise SandboxError(f"cannot run {line[-1]!r}: {error}") from error
        out, err = _Kept(self.config.output_bytes), _Kept(self.config.output_bytes)
        assert process.stdout is not None
        assert process.stderr is not None
        streams = asyncio.gather(
            _feed(process.stdin, stdin), out.read(process.stdout), err.read(process.stderr)
        )
        timed_out = False
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            timed_out = True
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await _settle(streams)
        code = None if timed_out else _exit_code(process.returncode or 0)
        truncated = out.truncated or err.truncated
        return ExecResult(
            code, bytes(out.kept), bytes(err.kept), time.monotonic() - started, truncated
        )


class _Kept:
    """The first bytes of a stream; the rest is read and dropped, so that nobody blocks."""

    def __init__(self, most: int) -> None:
        self.kept, self._most, self.truncated = bytearray(), most, False

    async def read(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(65536):
            room = self._most - len(self.kept)
            self.kept += chunk[:room]
            self.truncated |= len(chunk) > room


async def _feed(stream: asyncio.StreamWriter | None, content: bytes) -> None:
    if stream is None:
        return
    with contextlib.suppress(ConnectionError):
        stream.write(content)
        await stream.drain()
    stream.close()


async def _settle(streams: asyncio.Future[Any]) -> None:
    """Read what is left; a process that escaped an unisolated sandbox may hold a pipe open."""
    try:
        async with asyncio.timeout(5):
            await streams
    except TimeoutError:
        return


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code


def _reason(result: ExecResult) -> str:
    if result.timed_out:
        return "it took too long"
    text = result.stderr.decode("utf-8", "backslashreplace").strip()
    return text or f"exit code {result.exit_code}"
