"""Sandbox: where untrusted code runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cwm_core.errors import RunError


class SandboxError(RunError):
    """A sandbox cannot be made, or a file operation in it failed."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command did.

    `exit_code` is 128 + n after signal n, and None when the time limit ended the command.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    duration_s: float
    truncated: bool = False
    """Whether output beyond the limit was thrown away."""

    @property
    def timed_out(self) -> bool:
        """Whether the time limit ended the command."""
        return self.exit_code is None

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are no UTF-8 show as backslash escapes."""
        return self.stdout.decode("utf-8", "backslashreplace")


@runtime_checkable
class Sandbox(Protocol):
    """One place to run commands; its working directory lasts, everything else may not.

    Paths are relative to the working directory, or absolute inside the sandbox.
    """

    async def exec(
        self,
        command: str | Sequence[str],
        timeout_s: float,
        *,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> ExecResult:
        """Run a program with arguments, or a string with ``sh -c``.

        Every process that it started is gone when this returns, at a time-out or not.
        """
        ...

    async def read_file(self, path: str) -> bytes:
        """Return a file's content; SandboxError when there is none or it is too large."""
        ...

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a file, making its directories; SandboxError when it cannot be written."""
        ...

    async def close(self) -> None:
        """Delete the sandbox with all that is in it."""
        ...
