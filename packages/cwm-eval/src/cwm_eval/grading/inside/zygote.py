"""The warm server: one process per job, forked from an interpreter that has started already.

The grading process sends a job's settings with its descriptors; the job itself goes to the child
alone. Jobs run one after the other. When a job's first process ends, the kernel has killed every
other process of its namespace, so nothing of it is left when the next one starts.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from . import confine, guest, judge, kernel, script

WARM = (
    "bisect cmath collections copy datetime functools hashlib heapq itertools math operator random "
    "re string typing"
)
"""What most solutions import. Everything else costs them time only when they import it, but every
module here costs all of them: a fork takes as long as there is memory to copy."""
CONFINED = b"+"
"""A job's first byte, before it reads anything: all confinement is in place."""
_ROLES = {"guest": guest.main, "judge": judge.main, "script": script.main}
_MOST_REQUEST = 65536


def main(lane_fd: int, uid: int | None) -> None:
    """Serve jobs until the grading process is gone."""
    for name in WARM.split():
        __import__(name)
    lane = socket.socket(fileno=lane_fd)
    own = os.pidfd_open(os.getpid())
    confine.prepare()
    script.prepare()
    gc.collect()
    gc.freeze()
    lane.send(b"{}")
    while True:
        request, fds, _, _ = socket.recv_fds(lane, _MOST_REQUEST, 8)
        if not request:
            return
        if not fds:  # a request to stop, which a job's own end overtook
            continue
        job = json.loads(request)
        lane.send(json.dumps(_run(job, fds, lane, own, uid)).encode())


def _run(
    job: dict[str, Any], fds: list[int], lane: socket.socket, own: int, uid: int | None
) -> dict[str, Any]:
    kernel.setns(own, kernel.NEWPID)  # a second unshare without it is refused
    kernel.unshare(kernel.NEWPID)
    pid = os.fork()
    if pid == 0:
        _child(job, fds, lane, own, uid)
    for fd in fds:
        os.close(fd)
    return _wait(pid, job["wall_s"], lane)


def _child(
    job: dict[str, Any], fds: list[int], lane: socket.socket, own: int, uid: int | None
) -> None:
    """Become the job; never returns."""
    try:
        lane.close()
        os.close(own)
        sys.path.extend(job["limits"].get("paths", ()))
        confine.confine(job["limits"], uid)
        os.write(fds[0], CONFINED)
        _ROLES[job["role"]](fds)
    except BaseException as error:
        with contextlib.suppress(BaseException):
            os.write(2, f"{job['role']}: {error!r}\n".encode())
        os._exit(70)
    os._exit(0)


def _wait(pid: int, wall_s: float, lane: socket.socket) -> dict[str, Any]:
    """Wait for a job; a message on the lane or the end of its time kills it.

    One that is ending already when the message comes has ended by itself.
    """
    end = time.monotonic() + wall_s
    child = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(child, select.POLLIN)
    poll.register(lane, select.POLLIN)
    reason = ""
    while True:
        left = end - time.monotonic()
        events = dict(poll.poll(max(0.0, left) * 1000)) if left > 0 else {}
        if child in events:
            break
        if events:
            lane.recv(_MOST_REQUEST)
            reason = "" if kernel.is_exiting(pid) else "stopped"
        else:
            reason = "time"
        os.kill(pid, signal.SIGKILL)
        break
    _, status, usage = os.wait4(pid, 0)
    os.close(child)
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit": code,
        "killed": reason,
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 4),
        "memory_bytes": usage.ru_maxrss * 1024,
    }
