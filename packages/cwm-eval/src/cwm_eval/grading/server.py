"""A warm server and its lane; blocking, one job at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cwm_core.sandbox.base import SandboxError
from cwm_eval.grading.inside import wire
from cwm_eval.grading.inside.channel import ClosedError, send
from cwm_eval.grading.launch import command_line, job_uid

START_S = 60.0
_SPARE_S = 30.0
_MOST_REPLY = 65536


class ServerGoneError(SandboxError):
    """A server ended; a new one has to be started."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job's process ended, as the server saw it."""

    exit: int
    """Exit code, or minus the signal."""
    killed: str
    """``"time"`` or ``"stopped"`` when the server ended it, else empty."""
    cpu_s: float
    memory_bytes: int


class Server:
    """One bubblewrap sandbox with the warm interpreter in it.

    Raises:
        SandboxError: it does not start; the message holds what it said.
    """

    def __init__(self, packages: Sequence[Path] = ()) -> None:
        self._lane, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lane.settimeout(START_S)
        line = command_line(theirs.fileno(), job_uid(), packages)
        try:
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        except OSError as error:
            raise SandboxError(f"cannot run {line[0]}: {error}", _HINT) from error
        finally:
            theirs.close()
        with contextlib.suppress(OSError):
            if self._lane.recv(_MOST_REPLY):
                return
        raise SandboxError(f"the sandbox for grading does not start: {self._last_words()}", _HINT)

    def start(self, role: str, limits: Mapping[str, Any], wall_s: float, *others: int) -> Job:
        """Start a job, which gets its control connection and the other descriptors given.

        Raises `ServerGoneError`.
        """
        mine, control = socket.socketpair()
        mine.settimeout(wall_s + _SPARE_S)
        request = json.dumps({"role": role, "limits": dict(limits), "wall_s": wall_s}).encode()
        self._lane.settimeout(wall_s + _SPARE_S)
        with control:
            try:
                socket.send_fds(self._lane, [request], [control.fileno(), *others])
            except OSError as error:
                mine.close()
                raise ServerGoneError(f"the sandbox for grading is gone: {error}") from error
        return Job(self, mine)

    def close(self) -> None:
        """End the server and whatever runs in it."""
        self._lane.close()
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _last_words(self) -> str:
        self._process.kill()
        _, told = self._process.communicate()
        return told.decode("utf-8", "backslashreplace").strip()[-500:] or "it said nothing"

    def _reply(self) -> Ended:
        try:
            reply = self._lane.recv(_MOST_REPLY)
        except OSError as error:
            raise ServerGoneError(f"the sandbox for grading is gone: {error}") from error
        if not reply:
            raise ServerGoneError("the sandbox for grading ended")
        return Ended(**json.loads(reply))

    def _stop(self) -> None:
        with contextlib.suppress(OSError):
            self._lane.send(b"stop")


class Job:
    """A running job; a context manager that ends it."""

    def __init__(self, server: Server, control: socket.socket) -> None:
        self._server = server
        self.control = control
        self._ended: Ended | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def send(self, content: bytes) -> None:
        """Send a frame to the job; one that is gone gets none."""
        with contextlib.suppress(ClosedError):
            send(self.control, content)

    def wait(self) -> Ended:
        """Wait for its end."""
        if self._ended is None:
            self._ended = self._server._reply()
        return self._ended

    def end(self) -> Ended:
        """End it now, unless it has ended."""
        if self._ended is None:
            self._server._stop()
        ended = self.wait()
        self.control.close()
        return ended

    def confined(self) -> None:
        """Wait until nothing is left of the server's rights.

        Raises `ServerGoneError` where that fails: nothing untrusted has run then.
        """
        try:
            if self.control.recv(1):
                return
        except OSError:
            pass
        raise ServerGoneError("a job cannot be confined here", _HINT)


def encode(payload: Mapping[str, Any]) -> bytes:
    """Return a job's payload; raises `WireError` for data that cannot be said."""
    return wire.dumps(dict(payload))


_HINT = "install bubblewrap 0.6 or later, and allow user namespaces where you are not root"
