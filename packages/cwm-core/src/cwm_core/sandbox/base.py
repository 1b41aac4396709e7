"""Sandbox: where untrusted code runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self, runtime_checkable

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
    limit: Literal["", "disk"] = ""
    """The limit for which the sandbox itself killed the command, besides time."""
    restarted: bool = False
    """Whether a shell ended with this command, so that the next one meets a new shell."""

    @property
    def timed_out(self) -> bool:
        """Whether the time limit ended the command."""
        return self.exit_code is None

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are no UTF-8 show as backslash escapes."""
        return self.stdout.decode("utf-8", "backslashreplace")


@runtime_checkable
class Shell(Protocol):
    """A shell that lasts: working directory, variables, functions, background jobs."""

    async def run(self, command: str, timeout_s: float) -> ExecResult:
        """Run a command in the shell; both streams come back interleaved, as `stdout`.

        At a time-out everything that the command started is killed, and nothing that earlier
        commands left in the background. Where the shell itself does not answer any more, or the
        command ended it (``exit 3``), the result is marked as `restarted`: the next command meets a
        new shell with the working directory, the exported variables and the functions as they were
        after the last command that ended by itself; background jobs are gone. Commands read an
        empty standard input.
        """
        ...


@runtime_checkable
class Snapshot(Protocol):
    """The files of a sandbox at one moment; `build(snapshot=...)` of a config starts from them.

    Whoever took it deletes it; `cwm forage prune` deletes those of processes that died.
    """

    async def delete(self) -> None:
        """Delete the stored files; sandboxes that were made from them stay."""
        ...


@runtime_checkable
class Sandbox(Protocol):
    """One place to run commands; its files last, processes last as long as a command or a shell.

    Paths are relative to the working directory, or absolute inside the sandbox. Commands and shells
    of one sandbox run one at a time; a second one waits. Leaving ``async with`` closes it.
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

    def shell(
        self, *, cwd: str = ".", env: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Shell]:
        """Open a shell: ``bash`` where there is one, else ``sh``.

        Every process that it started is gone when the context is left.
        """
        ...

    async def read_file(self, path: str) -> bytes:
        """Return a file's content; SandboxError when there is none or it is too large."""
        ...

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a file, making its directories; SandboxError when it cannot be written."""
        ...

    async def upload(self, source: Path, path: str = ".") -> None:
        """Copy the content of a directory of this machine into one of the sandbox, made if missing.

        Modes and links are kept as they are, owners are not.
        """
        ...

    async def download(self, path: str, target: Path) -> None:
        """Copy the content of a directory of the sandbox into one of this machine, made if missing.

        Nothing is written outside `target`: links that lead out of it, devices and the like raise
        SandboxError, and so does a tree that is too large.
        """
        ...

    async def snapshot(self) -> Snapshot:
        """Keep the files as they are now; temporary space and processes are not part of it."""
        ...

    async def close(self) -> None:
        """Delete the sandbox with all that is in it; closing twice is fine."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exception: object) -> None: ...
