"""File operations of a sandbox, by commands inside it: its user's rights hold, links lead nowhere.

The sandbox needs a POSIX shell and ``cat``; ``tar`` for trees.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

from cwm_core.sandbox import trees
from cwm_core.sandbox.base import ExecResult, SandboxError
from cwm_core.sandbox.config import SandboxConfig

FILE_TIMEOUT_S = 60.0
"""Seconds for reading or writing one file."""
TREE_TIMEOUT_S = 600.0
"""Seconds for copying a tree."""
_READ = (
    'if [ -e "$1" ] && [ ! -f "$1" ]; then echo "not a regular file" >&2; exit 1; fi; '
    'exec cat -- "$1"'
)
_WRITE = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1"'
_UNPACK = 'mkdir -p -- "$1" && exec tar -xpof - -C "$1"'
_PACK = 'exec tar -cf - -C "$1" .'


class FilesByCommands(ABC):
    """The file operations of `Sandbox`, for sandboxes that can run a command."""

    config: SandboxConfig

    @abstractmethod
    async def _execute(
        self, line: list[str], timeout_s: float, *, stdin: bytes, output_bytes: int
    ) -> ExecResult:
        """Run a program with arguments in the working directory."""

    @abstractmethod
    def _inside(self, path: str) -> str:
        """Return a path as commands in the working directory may use it, or raise."""

    @abstractmethod
    async def close(self) -> None:
        """Delete the sandbox."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def read_file(self, path: str) -> bytes:
        """Return a file's content (see `Sandbox.read_file`)."""
        result = await self._script(_READ, path, FILE_TIMEOUT_S)
        _check(result, f"cannot read {path!r} in the sandbox")
        return self._whole(result, path)

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a file (see `Sandbox.write_file`)."""
        result = await self._script(_WRITE, path, FILE_TIMEOUT_S, content)
        _check(result, f"cannot write {path!r} in the sandbox")

    async def upload(self, source: Path, path: str = ".") -> None:
        """Copy a tree in (see `Sandbox.upload`)."""
        archive = await asyncio.to_thread(trees.pack, source)
        result = await self._script(_UNPACK, path, TREE_TIMEOUT_S, archive)
        _check(result, f"cannot write {path!r} in the sandbox")

    async def download(self, path: str, target: Path) -> None:
        """Copy a tree out (see `Sandbox.download`)."""
        result = await self._script(_PACK, path, TREE_TIMEOUT_S)
        _check(result, f"cannot read {path!r} in the sandbox")
        limits = {"most_bytes": self.config.transfer_bytes, "most_files": self.config.disk_files}
        await asyncio.to_thread(trees.unpack, self._whole(result, path), target, **limits)

    async def _script(
        self, script: str, path: str, timeout_s: float, stdin: bytes = b""
    ) -> ExecResult:
        inside = self._inside(path)
        argument = inside if inside.startswith("/") else f"./{inside}"
        line = ["/bin/sh", "-c", script, "sh", argument]
        most = self.config.transfer_bytes
        return await self._execute(line, timeout_s, stdin=stdin, output_bytes=most)

    def _whole(self, result: ExecResult, path: str) -> bytes:
        if result.truncated:
            raise SandboxError(
                f"{path!r} in the sandbox is larger than {self.config.transfer_bytes} bytes",
                "raise transfer_bytes",
            )
        return result.stdout


def _check(result: ExecResult, what: str) -> None:
    if result.exit_code != 0:
        raise SandboxError(f"{what}: {_reason(result)}")


def _reason(result: ExecResult) -> str:
    if result.timed_out:
        return "it took too long"
    if result.limit:
        return f"the limit on {result.limit} was reached"
    text = result.stderr.decode("utf-8", "backslashreplace").strip()
    return text or f"exit code {result.exit_code}"
