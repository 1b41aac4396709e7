"""The trusted side: starts the fork server, hands it jobs, and outlives whatever they do."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwm_core.errors import RunError
from cwm_tracer.capture import reaper
from cwm_tracer.capture.stream import read_region

_START = (
    "import sys; sys.path.append(sys.argv[1]); from cwm_tracer.capture.worker import main; main()"
)
_PATIENCE_S = 10.0
"""Time beyond a job's own limit after which the server itself counts as hung."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process of a job ended, and what it left."""

    records: str
    stdout: bytes
    stderr: bytes
    code: int | None
    """Exit code; minus the signal's number; None where it is unknown."""
    timed_out: bool
    duration_s: float


class TracedProcess:
    """Runs jobs one at a time in processes of their own."""

    def __init__(self, *, trace_bytes: int, fork: bool = True, hash_seed: int = 0) -> None:
        self._size = trace_bytes
        self._hash_seed = hash_seed
        self._fork = fork and hasattr(os, "fork")
        self._server: subprocess.Popen[bytes] | None = None
        self._home = ""
        self._owner = os.getpid()
        self._mark = f"CWM_TRACER={secrets.token_hex(8)}"
        self._files = [_shared_file(name) for name in ("events", "output", "errors")]
        os.ftruncate(self._files[0], trace_bytes)

    def run(self, request: dict[str, Any]) -> Ending:
        """Run one job to its end, whatever it does.

        Raises:
            RunError: no process can be started.
        """
        started = time.perf_counter()
        reply = self._served(request) if self._fork else self._alone(request)
        return Ending(
            records=read_region(self._files[0], self._size),
            stdout=_content(self._files[1], request["limits"]["output_bytes"]),
            stderr=_content(self._files[2], 4096),
            code=reply.get("code"),
            timed_out=bool(reply.get("timed_out")),
            duration_s=float(reply.get("duration_s", time.perf_counter() - started)),
        )

    def close(self) -> None:
        """End the server and all that it started."""
        self._stop()
        files, self._files = self._files, []
        for file in files:
            os.close(file)

    def _served(self, request: dict[str, Any]) -> dict[str, Any]:
        server = self._running()
        try:
            _send(server, request)
            return _receive(server, request["limits"]["timeout_s"] + _PATIENCE_S)
        except (OSError, ValueError, TimeoutError) as error:
            self._stop()
            return {"timed_out": isinstance(error, TimeoutError)}
        except BaseException:
            self._stop()
            raise

    def _alone(self, request: dict[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="cwm-trace-", ignore_cleanup_errors=True) as work:
            for file in self._files[1:]:
                os.ftruncate(file, 0)
            process = self._start(["once"], work)
            try:
                with contextlib.suppress(OSError):
                    _send(process, request)
                code = process.wait(request["limits"]["timeout_s"] + 1.0)
                return {"code": code, "timed_out": False}
            except subprocess.TimeoutExpired:
                return {"timed_out": True}
            finally:
                _end(process, self._mark)

    def _running(self) -> subprocess.Popen[bytes]:
        if os.getpid() != self._owner:
            raise RunError("a tracer cannot be used in a forked process", "build one there")
        if self._server is not None and self._server.poll() is not None:
            self._stop()
        if self._server is None:
            self._home = tempfile.mkdtemp(prefix="cwm-trace-")
            self._server = self._start([self._home], None)
        return self._server

    def _start(self, options: list[str], work: str | None) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).parents[2])
        numbers = [str(number) for number in (*self._files, self._size)]
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-s", "-c", _START, root, *numbers, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(self._mark, self._hash_seed),
                cwd=work,
                pass_fds=self._files,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise RunError(f"cannot start {sys.executable}: {error.strerror}") from error

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None and os.getpid() == self._owner:
            with contextlib.suppress(OSError):
                assert server.stdin is not None
                server.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(0.5)
            _end(server, self._mark)
            # The server removes it, too, unless it was killed.
            shutil.rmtree(self._home, ignore_errors=True)


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill what is left of a process and its descendants, and reap it."""
    if process.poll() is None:
        reaper.kill_tree(process.pid)
    process.wait()
    reaper.kill_marked(mark)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _environment(mark: str, hash_seed: int) -> dict[str, str]:
    """Return a cleared environment in which hashes are the same for the same seed."""
    name, _, value = mark.partition("=")
    kept = {
        name: os.environ[name] for name in ("PATH", "TMPDIR", "SYSTEMROOT") if name in os.environ
    }
    return {
        **kept,
        name: value,
        "PYTHONHASHSEED": str(hash_seed),
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _send(process: subprocess.Popen[bytes], request: dict[str, Any]) -> None:
    assert process.stdin is not None
    data = json.dumps(request).encode("ascii")
    message = memoryview(len(data).to_bytes(4, "little") + data)
    while message:
        message = message[process.stdin.write(message) :]


def _receive(process: subprocess.Popen[bytes], timeout_s: float) -> dict[str, Any]:
    """Read one line of JSON.

    Raises:
        TimeoutError: none came in time.
        ValueError: the server died, or the line is no JSON object.
    """
    assert process.stdout is not None
    line = b""
    deadline = time.monotonic() + timeout_s
    while not line.endswith(b"\n"):
        for_s = max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([process.stdout], [], [], for_s)
        if not ready:
            raise TimeoutError
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk or len(line) > 65536:
            raise ValueError("the fork server died")
        line += chunk
    reply = json.loads(line)
    if not isinstance(reply, dict):
        raise ValueError("the fork server sent no object")
    return reply


def _shared_file(name: str) -> int:
    """Open an anonymous file, to be shared with the traced process."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(f"cwm-{name}")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    if name != "events":
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    return descriptor


def _content(descriptor: int, limit: int) -> bytes:
    return os.pread(descriptor, limit, 0) if limit else b""


def signal_name(code: int) -> str:
    """Name the signal of a negative exit code."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
