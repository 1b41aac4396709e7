"""Finding and ending the processes that a traced program started.

Uses the standard library only; what needs Linux does nothing elsewhere.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ON_LINUX = sys.platform == "linux"

if _ON_LINUX:
    import ctypes

    _libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that none escapes `clear`."""
    if _ON_LINUX:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    if _ON_LINUX:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)


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
    try:
        os.killpg(session, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
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


def kill_marked(mark: str) -> None:
    """Kill every process whose environment began with a variable of this value.

    That finds what a program forked before it killed the fork server itself.
    """
    for name in _numbered("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123
                marked = mark.encode() in file.read()
        except OSError:
            continue
        if marked and int(name) != os.getpid():
            _kill(int(name))


def address_space() -> int:
    """Return the bytes of address space that this process has mapped (0 if unknown)."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
            pages = file.read().split()[0]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def processes_of_user() -> int:
    """Count the threads of this process's user, which is what RLIMIT_NPROC bounds."""
    user, count = os.getuid(), 0
    for name in _numbered("/proc"):
        try:
            if os.stat(f"/proc/{name}").st_uid == user:  # noqa: PTH116
                count += len(_numbered(f"/proc/{name}/task"))
        except OSError:
            continue
    return count


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _processes() -> list[tuple[int, int, int]]:
    """List (process, parent, session) of all processes that /proc shows."""
    found = []
    for name in _numbered("/proc"):
        try:
            with open(f"/proc/{name}/stat", errors="replace") as file:  # noqa: PTH123
                stat = file.read()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        found.append((int(name), int(fields[1]), int(fields[3])))
    return found


def _numbered(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []
