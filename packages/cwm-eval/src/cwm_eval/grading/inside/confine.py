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
_FILTER = filter_program()


def confine(limits: Mapping[str, Any], uid: int | None) -> None:
    """Confine this process for good. Its process-id namespace is new already.

    Scratch directories are new and private to the sample, everything else is read-only and there
    is no /proc. `uid` is the user to become, None to stay who one is.
    """
    kernel.unshare(kernel.NEWNS | kernel.NEWIPC | kernel.NEWUTS)
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    size = f"size={limits['disk_bytes']},nr_inodes={limits['files']},mode=1777"
    for path in _SCRATCH:
        kernel.mount("tmpfs", path, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, size)
    os.chdir(WORKSPACE)
    kernel.bound_capabilities()
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
        kernel.install_filter(_FILTER)


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
