"""The streams of a command in a container, read and written by threads: a socket may be TLS."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cwm_core.sandbox.streams import Kept
from cwm_forager.docker.engine import engine, engine_errors
from cwm_forager.docker.frames import STDERR, frames
from cwm_forager.docker.guarded import ended

WRAPPER = (
    'cd -- "$2" || exit; marker=$1; shift 2; exec 9>&2 2>/dev/null; '
    '(exec "$@" 2>&9 9>&- STDIN); printf "\\036%s %d\\036" "$marker" $? >&9'
)
"""Runs a command and tells its exit code on standard error. What the command leaves behind may
hold the streams open, so that their end tells nothing. Who forges it ends the own command early."""


class Attached:
    """A program in a container with its streams; a thread reads and calls the given functions."""

    def __init__(
        self,
        container_id: str,
        line: list[str],
        *,
        cwd: str,
        env: dict[str, str],
        user: str,
        stdin: bool,
        on_output: Callable[[int, bytes], None],
        on_end: Callable[[int | None], None],
    ) -> None:
        """Start a program; `on_end` gets its exit code, or None when its streams ended without."""
        self._trailer = _Trailer(on_output)
        self._on_end = on_end
        self._ended = False
        wrapper = WRAPPER.replace("STDIN", "" if stdin else "</dev/null")
        command = ["/bin/sh", "-c", wrapper, "sh", self._trailer.marker, cwd, *line]
        with engine_errors("run a command in a container"), _ends():
            self.exec_id = engine().exec_create(
                container_id, command, stdin=stdin, environment=env, user=user
            )["Id"]
            self._stream = engine().exec_start(self.exec_id, socket=True)
        self._socket = getattr(self._stream, "_sock", self._stream)
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def feed(self, data: bytes, *, close: bool) -> None:
        """Write to its standard input."""
        with contextlib.suppress(OSError):
            self._socket.sendall(data)
            if close:
                self._socket.shutdown(socket.SHUT_WR)

    def exit_code(self) -> int:
        """Return what the engine says."""
        with engine_errors("ask for a command's exit code"), _ends():
            code = engine().exec_inspect(self.exec_id)["ExitCode"]
        return 137 if code is None else int(code)

    def finish(self, timeout_s: float) -> None:
        """Read what is left of its output and let go of the streams."""
        self._reader.join(timeout_s)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
            self._stream.close()
        self._reader.join(timeout_s)

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for stream, chunk in frames(self._stream):
                self._trailer.take(stream, chunk)
                if self._trailer.exit_code is not None:
                    self._end(self._trailer.exit_code)
        self._trailer.end()
        self._end(None)

    def _end(self, code: int | None) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(code)


@contextlib.contextmanager
def _ends() -> Iterator[None]:
    """A container that is gone, or on its way, is an error of its own."""
    import docker

    try:
        yield
    except docker.errors.APIError as error:
        if error.status_code in (404, 409):
            raise ended() from error
        raise


class _Trailer:
    """Passes output on, but for what the wrapper adds at the end of standard error."""

    def __init__(self, on_output: Callable[[int, bytes], None]) -> None:
        self.marker = secrets.token_hex(16)
        self.exit_code: int | None = None
        self._on_output, self._pattern = on_output, b"\036" + self.marker.encode() + b" "
        self._pending = b""

    def take(self, stream: int, chunk: bytes) -> None:
        if stream != STDERR:
            self._on_output(stream, chunk)
            return
        text = self._pending + chunk
        position = text.find(self._pattern)
        if position >= 0:
            code, end, _ = text[position + len(self._pattern) :].partition(b"\036")
            self._on_output(STDERR, text[:position])
            self._pending = text[position:]
            if end:
                self._pending = b""
                self.exit_code = int(code) if code.isdigit() else 1
            return
        sure = max(0, len(text) - len(self._pattern) + 1)
        self._on_output(STDERR, text[:sure])
        self._pending = text[sure:]

    def end(self) -> None:
        if not self._pending.startswith(self._pattern):
            self._on_output(STDERR, self._pending)


class Waiter:
    """An end that a thread announces to a coroutine."""

    def __init__(self) -> None:
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def set(self, value: Any) -> None:
        """Announce; later ones are ignored, and so is a loop that has ended."""

        def announce() -> None:
            if not self._future.done():
                self._future.set_result(value)

        with contextlib.suppress(RuntimeError):
            self._future.get_loop().call_soon_threadsafe(announce)

    async def wait(self) -> Any:
        """Return what was announced; may be cancelled and called again."""
        return await asyncio.shield(self._future)


class Outputs:
    """What is kept of both streams."""

    def __init__(self, most: int) -> None:
        self.out, self.err = Kept(most), Kept(most)

    def take(self, stream: int, chunk: bytes) -> None:
        """Keep what there is room for."""
        (self.err if stream == STDERR else self.out).take(chunk)
