"""Confinement of one sample: namespaces, file systems, user, limits, system calls."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from typing import Any

from . import kernel
from .syscalls import filter_program

WORKSPACE = "/workspace"
_SCRATCH = ("/tmp", "/dev/shm", WORKSPACE)
_PROGRAM = filter_program()
_FILTER = kernel.Filter(_PROGRAM) if _PROGRAM else None


def prepare() -> None:
    """Give up, once in the server, what no sample may have and the server does not need."""
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.bound_capabilities()


def confine(limits: Mapping[str, Any], uid: int | None) -> None:
    """Confine this process for good, a fork of a server that is prepared.

    Its process-id namespace is new already.

    Scratch directories are new and private to the sample, everything else is read-only and there
    is no /proc. `uid` is the user to become, None to stay who one is.
    """
    kernel.unshare(kernel.NEWNS | kernel.NEWIPC | kernel.NEWUTS)
    size = f"size={limits['disk_bytes']},nr_inodes={limits['files']},mode=1777"
    for path in _SCRATCH:
        kernel.mount("tmpfs", path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, size)
    os.chdir(WORKSPACE)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        _limit(limits)
        os.setresuid(uid, uid, uid)
    else:
        _limit(limits)
    kernel.give_up_capabilities()
    kernel.no_new_privileges()
    if _FILTER:
        _FILTER.install()


def _limit(limits: Mapping[str, Any]) -> None:
    """Limit resources; CPU time ends with SIGKILL, which the first of a namespace cannot ignore."""
    for name, value in (
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_FSIZE, limits["disk_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(name, (value, value))
