"""Finding and ending the processes that a traced program started.

Uses the standard library only; what needs Linux does nothing elsewhere.
"""

# ruff: noqa: PTH116, PTH123, PTH208
# `pathlib` costs page faults after every fork.

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

_PR_SET_CHILD_SUBREAPER = 36
_ON_LINUX = sys.platform == "linux"

if _ON_LINUX:
    import ctypes

    _libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that none escapes `clear`."""
    if _ON_LINUX:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def clear(patience_s: float) -> int:
    """Kill and reap all children of this process, and theirs in turn; return how many."""
    reaped = 0
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            process, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return reaped
        if process:
            reaped += 1
            continue
        for child in children(os.getpid()):
            _kill(child)
        time.sleep(0.001)
    return reaped


def children(process: int) -> list[int]:
    """List the children of a process."""
    return [child for child, parent, _ in _processes() if parent == process]


def kill_session(session: int) -> None:
    """Kill a process, its group and every process of the session that it leads."""
    _kill(session)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)
    for process, _, of_session in _processes():
        if of_session == session:
            _kill(process)


def kill_tree(root: int) -> None:
    """Kill a process and all its descendants."""
    parents = {process: parent for process, parent, _ in _processes()}
    doomed = {root}
    while more := {p for p, parent in parents.items() if parent in doomed} - doomed:
        doomed |= more
    for process in doomed:
        _kill(process)


def kill_marked(mark: str, patience_s: float = 5.0) -> None:
    """Kill every process whose environment began with a variable of this value; wait for the end.

    That finds what a program forked before it killed the fork server itself.
    """
    deadline = time.monotonic() + patience_s
    while (marked := _marked(mark.encode())) and time.monotonic() < deadline:
        for process in marked:
            _kill(process)
        time.sleep(0.001)


def _marked(mark: bytes) -> list[int]:
    """List the living processes with a mark; a zombie has no environment."""
    found = []
    for name in _numbered("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read() and int(name) != os.getpid():
                    found.append(int(name))
        except OSError:
            continue
    return found


def address_space() -> int:
    """Return the bytes of address space that this process has mapped (0 if unknown)."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY)  # cheaper after a fork than a file
        pages = os.read(descriptor, 64).split()[0]
        os.close(descriptor)
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def processes_of_user() -> int:
    """Count the threads of this process's user, which is what RLIMIT_NPROC bounds."""
    user, count = os.getuid(), 0
    for name in _numbered("/proc"):
        try:
            if os.stat(f"/proc/{name}").st_uid == user:
                count += len(_numbered(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def _kill(process: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, signal.SIGKILL)


def _processes() -> list[tuple[int, int, int]]:
    """List (process, parent, session) of all processes that /proc shows."""
    found = []
    for name in _numbered("/proc"):
        try:
            with open(f"/proc/{name}/stat", errors="replace") as file:
                stat = file.read()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        found.append((int(name), int(fields[1]), int(fields[3])))
    return found


def _numbered(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.isdigit()]
    except OSError:
        return []
