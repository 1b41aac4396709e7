"""The fork server: a light process that runs each job in a fork of its own, under limits.

Started as ``python -c "...; main()" ROOT EVENTS OUTPUT ERRORS SIZE HOME`` by `process.py`. Jobs are
length-prefixed JSON on stdin; one JSON line per job goes to stdout, saying how its process ended.

Uses the standard library only.
"""

# ruff: noqa: PTH102, PTH106, PTH109, PTH118
# `pathlib` costs page faults after every fork.

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from typing import Any, BinaryIO, NoReturn

from cwm_tracer.capture import reaper
from cwm_tracer.capture.job import Console, Job
from cwm_tracer.capture.renderers import load
from cwm_tracer.capture.stream import FIELD, RECORD, Region

PRELOADED = [
    "abc",
    "bisect",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "string",
    "textwrap",
    "time",
    "typing",
]
"""Modules that programs often import: loaded once, here. `threading` is not: it slows each fork."""

_GRACE_S = 5.0
_Outputs = tuple[int, int]


def main() -> None:
    """Serve jobs until stdin ends; with ``once`` for HOME, run one without forking."""
    events, output, errors, size = (int(text) for text in sys.argv[2:6])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    region = Region(events, size)
    console = Console(region)
    os.set_inheritable(events, False)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    home = sys.argv[6]
    if home == "once":
        request = read_request(requests)
        if request is not None:
            region.reset()
            _run(request, region, console, (output, errors), os.getcwd())
        return
    _serve(requests, replies, region, console, (output, errors), home)


def _serve(
    requests: BinaryIO,
    replies: BinaryIO,
    region: Region,
    console: Console,
    outputs: _Outputs,
    home: str,
) -> None:
    reaper.become_subreaper()
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    try:
        while (request := read_request(requests)) is not None:
            region.reset()
            for output in outputs:
                os.ftruncate(output, 0)
            with contextlib.suppress(Exception):  # the job says what is wrong with them
                load(request["renderers"])
            reply = _supervise(request, region, console, outputs, _fresh(home))
            replies.write(json.dumps(reply).encode() + b"\n")
            replies.flush()
    finally:
        _remove(home)


def read_request(stream: BinaryIO) -> dict[str, Any] | None:
    """Read one length-prefixed JSON object; None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    return json.loads(stream.read(int.from_bytes(head, "little")))


def _fresh(home: str) -> str:
    """Return an empty working directory for the next program."""
    path = os.path.join(home, "work")
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        _remove(path)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        path = os.path.join(home, os.urandom(8).hex())
        os.mkdir(path, 0o700)
    return path


def _remove(path: str) -> None:
    import shutil

    shutil.rmtree(path, ignore_errors=True)


def _supervise(
    request: dict[str, Any], region: Region, console: Console, outputs: _Outputs, work: str
) -> dict[str, Any]:
    """Fork a process for a job, wait for its end or its time, and clear what it left."""
    started = time.perf_counter()
    process = os.fork()
    if process == 0:
        _run(request, region, console, outputs, work)
    timeout_s = request["limits"]["timeout_s"]
    timed_out = not _ended(process, timeout_s)
    if timed_out:
        reaper.kill_session(process)
    _, status = os.waitpid(process, 0)
    strays = reaper.clear(_GRACE_S)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "timed_out": timed_out,
        "strays": strays,
        "duration_s": time.perf_counter() - started,
    }


def _ended(process: int, timeout_s: float) -> bool:
    """Wait for the end of a child, without reaping it; false if it takes longer."""
    if hasattr(os, "pidfd_open"):
        descriptor = os.pidfd_open(process)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(timeout_s * 1000))
        finally:
            os.close(descriptor)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(0.001)
    return False


def _run(
    request: dict[str, Any], region: Region, console: Console, outputs: _Outputs, work: str
) -> NoReturn:
    """Become the process of a job."""
    try:
        _isolate(request["limits"], outputs, work, request.get("stdin", ""))
        Job(request, region, console).run()
    except BaseException as error:
        end = {"outcome": "crashed", "reason": f"the tracer failed: {error!r}"[:500]}
        region.write(f"x{FIELD}{json.dumps(end)}{RECORD}")
    os._exit(70)


def _isolate(limits: dict[str, Any], outputs: _Outputs, work: str, stdin: str) -> None:
    """Take away everything that the program has no need of."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.chdir(work)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(_input_file(stdin) if stdin else null, 0)
    os.dup2(outputs[0], 1)
    os.dup2(outputs[1], 2)
    os.closerange(3, 256)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)  # spares a fork the enums
    cpu = int(limits["timeout_s"]) + 1
    _limit(resource.RLIMIT_CPU, cpu)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, 128)
    _limit(resource.RLIMIT_FSIZE, limits["output_bytes"])
    _limit(resource.RLIMIT_AS, reaper.address_space() + limits["memory_bytes"])
    if os.getuid() and hasattr(resource, "RLIMIT_NPROC"):
        _limit(resource.RLIMIT_NPROC, reaper.processes_of_user() + limits["processes"])


def _input_file(text: str) -> int:
    """Open a file that holds the standard input of a script."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("cwm-input")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    data = memoryview(text.encode("utf-8", "surrogateescape"))
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (most, most))
