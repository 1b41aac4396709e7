"""A lasting shell over two streams, whatever runs it.

Commands go in as one ``command eval`` each, so that a syntax error belongs to the command and ends
no shell. After each, the shell writes a marker that nobody can know beforehand, with the exit code
and its state, from which a new shell starts where this one is lost. Who forges a marker only ends
the own command early.
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from cwm_core.sandbox.base import ExecResult, SandboxError
from cwm_core.sandbox.disk import DiskWatch

START = ["/bin/sh", "-c", 'b=$(command -v bash) && exec "$b" --noprofile --norc; exec sh']
GRACE_S = 2.0
"""Seconds for the shell to answer after what it ran was killed."""
START_TIMEOUT_S = 60.0
STATE_BYTES = 2**20
"""Size of the state that is kept; a shell with more restarts without."""

_EPILOGUE = rb"""_cwm_status=$?
{ printf '\036%s\036%d\n' MARKER "$_cwm_status"; printf '%s\n\036' "$PWD"; export -p
[ -z "$BASH_VERSION" ] || declare -f; printf '\036%s\036' MARKER; } >&9
"""
"""Writes marker, exit code, directory, definitions, marker. An assignment goes first: bash takes
no brace for one after a syntax error within `eval`."""


class ShellProcess(Protocol):
    """A running shell that reads commands; both its streams in one."""

    async def write(self, data: bytes) -> None:
        """Write to its standard input; nothing happens when it has ended."""
        ...

    async def read(self) -> bytes:
        """Return some output, empty when the shell has ended."""
        ...

    async def wait(self) -> int:
        """Return the exit code after the end of the output."""
        ...

    async def mark(self) -> None:
        """Remember which processes there are."""
        ...

    async def kill_new(self) -> None:
        """Kill what was started since the mark, but the shell."""
        ...

    async def kill(self) -> None:
        """Kill the shell and everything that it started."""
        ...


@dataclass(slots=True)
class _State:
    directory: str = ""
    definitions: bytes = b""
    exit_code: int = 0


class LastingShell:
    """`Shell` over a `ShellProcess`; `start` makes a new one, `lock` admits one command at once."""

    def __init__(
        self,
        start: Callable[[], Awaitable[ShellProcess]],
        output_bytes: int,
        lock: asyncio.Lock,
        disk: DiskWatch,
    ) -> None:
        self._start, self._output_bytes, self._lock, self._disk = start, output_bytes, lock, disk
        self._process: ShellProcess | None = None
        self._state = _State()
        self._closed = False

    async def run(self, command: str, timeout_s: float) -> ExecResult:
        """Run a command (see `Shell.run`)."""
        if "\0" in command:
            raise SandboxError("a command cannot contain a null character")
        async with self._lock:
            if self._closed:
                raise SandboxError("the shell is closed")
            process = self._process or await self._started()
            try:
                return await self._run(process, command, timeout_s)
            except BaseException:
                await self._lose()
                raise

    async def close(self) -> None:
        """Kill the shell and everything that it started."""
        self._closed = True
        await self._lose()

    async def _started(self) -> ShellProcess:
        process = self._process = await self._start()
        directory = self._state.directory
        lines = [b"exec 2>&1 9>&1\n"]
        if directory:
            lines += [f"cd -- {shlex.quote(directory)}\n".encode("utf-8", "surrogateescape")]
        answer = _Answer(_marker(), 2**16)
        text = b"".join(lines) + self._state.definitions + b"\n" + _epilogue(answer.marker)
        await process.write(text)
        if not await _within(answer.read(process), START_TIMEOUT_S) or not answer.complete:
            await self._lose()
            raise SandboxError(f"no shell starts in the sandbox: {bytes(answer.output)!r}")
        return process

    async def _run(self, process: ShellProcess, command: str, timeout_s: float) -> ExecResult:
        started = time.monotonic()
        await process.mark()
        answer = _Answer(_marker(), self._output_bytes)
        line = f"(exit {self._state.exit_code}); command eval {shlex.quote(command)} </dev/null\n"
        text = line.encode("utf-8", "surrogateescape") + _epilogue(answer.marker)
        writing = asyncio.ensure_future(process.write(text))
        try:
            limit = await self._disk.wait(answer.read(process), timeout_s)
            if limit:
                answer.freeze()
                await process.kill_new()
                await _within(answer.read(process), GRACE_S)
        finally:
            writing.cancel()
        code: int | None = answer.exit_code
        if answer.complete:
            self._keep(answer)
        else:
            code = await process.wait() if answer.ended else None
            await self._lose()
        return ExecResult(
            None if limit == "time" else 137 if limit == "disk" else code,
            bytes(answer.output),
            b"",
            time.monotonic() - started,
            answer.truncated,
            "disk" if limit == "disk" else "",
            restarted=not answer.complete,
        )

    def _keep(self, answer: _Answer) -> None:
        directory, _, definitions = answer.state.partition(b"\n\036")
        if len(answer.state) < STATE_BYTES:
            self._state = _State(directory.decode("utf-8", "surrogateescape"), definitions)
        self._state.exit_code = answer.exit_code

    async def _lose(self) -> None:
        process, self._process = self._process, None
        self._state.exit_code = 0
        if process is not None:
            await process.kill()


class _Answer:
    """What the shell writes from a command to the end of its epilogue."""

    def __init__(self, marker: bytes, most: int) -> None:
        self.marker, self._most = marker, most
        self.output, self.state, self.exit_code = bytearray(), b"", 0
        self.truncated = self.complete = self.ended = False
        self._pending = b""
        self._frozen = False
        self._after: bytearray | None = None

    def freeze(self) -> None:
        """Keep no more output: the shell may tell what was killed."""
        self._keep(self._pending)
        self._frozen = True

    async def read(self, process: ShellProcess) -> None:
        while not (self.complete or self.ended):
            chunk = await process.read()
            self.ended = not chunk
            if self._after is None:
                self._take(chunk)
            else:
                self._take_state(chunk)

    def _take(self, chunk: bytes) -> None:
        text = self._pending + chunk
        position = text.find(self.marker)
        if position >= 0:
            self._keep(text[:position])
            self._after = bytearray()
            self._take_state(text[position + len(self.marker) :])
            return
        held = 0 if self.ended else len(self.marker) - 1
        sure = max(0, len(text) - held)
        self._keep(text[:sure])
        self._pending = text[sure:]

    def _take_state(self, chunk: bytes) -> None:
        assert self._after is not None
        self._after += chunk
        position = self._after.find(self.marker)
        if position < 0:
            del self._after[STATE_BYTES : -len(self.marker)]
            return
        code, _, self.state = bytes(self._after[:position]).partition(b"\n")
        self.exit_code = int(code) if code.isdigit() else 1
        self.complete = True

    def _keep(self, text: bytes) -> None:
        if self._frozen:
            return
        room = self._most - len(self.output)
        self.output += text[:room]
        self.truncated |= len(text) > room


def _marker() -> bytes:
    return b"\036" + secrets.token_hex(16).encode() + b"\036"


def _epilogue(marker: bytes) -> bytes:
    return _EPILOGUE.replace(b"MARKER", marker.strip(b"\036"))


async def _within(work: Awaitable[None], timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except TimeoutError:
        return False
    return True
