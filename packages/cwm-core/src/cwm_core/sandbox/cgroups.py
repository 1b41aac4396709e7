"""A control group for one sandbox, where this process may make one: versions 1 and 2."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from cwm_core.sandbox.config import SandboxLimits

ROOT = Path("/sys/fs/cgroup")
PREFIX = "cwm-sandbox-"
SPARE_PROCESSES = 8
"""Processes beside those of the commands: what isolates them."""
PERIOD_US = 100_000
KILL_TIMEOUT_S = 10.0
_JOIN = 'for file in $1; do echo 0 > "$file" || exit 125; done; shift; exec "$@"'
_NEEDED = ("memory", "pids")


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """One directory per hierarchy; version 2 has a single one."""

    directories: list[Path]

    @classmethod
    def make(cls, limits: SandboxLimits) -> ControlGroup | None:
        """Make a group with limits on memory, processes and cores; None where that cannot be."""
        parents = _parents()
        if parents is None:
            return None
        name = PREFIX + uuid.uuid4().hex
        group = cls([path / name for path in dict.fromkeys(parents.values())])
        try:
            for directory in group.directories:
                directory.mkdir()
            for controller, parent in parents.items():
                for file, value in _settings(controller, limits).items():
                    if (path := parent / name / file).exists():
                        path.write_text(value)
        except OSError:
            group.remove()
            return None
        return group

    @property
    def join(self) -> list[str]:
        """The arguments in front of a command that put it into the group."""
        files = " ".join(str(path / "cgroup.procs") for path in self.directories)
        return ["/bin/sh", "-c", _JOIN, "sh", files]

    def members(self) -> list[int]:
        """Return the ids of its processes."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in (self.directories[0] / "cgroup.procs").read_text().split()]
        return []

    def kill(self) -> bool:
        """Kill its processes and wait for their end; return whether all are gone."""
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while members := self.members():
            for pid in members:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def remove(self) -> None:
        """Kill its processes and delete it."""
        self.kill()
        for directory in self.directories:
            for _ in range(100):
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError:  # a process that is just ending
                    time.sleep(0.01)
                else:
                    break


def _settings(controller: str, limits: SandboxLimits) -> dict[str, str]:
    """Return the files to write, of either version; those that do not exist are left out."""
    memory, quota = str(limits.memory_bytes), int((limits.cpus or 0) * PERIOD_US)
    if controller == "memory":
        return {
            "memory.limit_in_bytes": memory,
            "memory.memsw.limit_in_bytes": memory,
            "memory.swappiness": "0",
            "memory.max": memory,
            "memory.swap.max": "0",
        }
    if controller == "pids":
        return {"pids.max": str(limits.processes + SPARE_PROCESSES)}
    if limits.cpus is None:
        return {}
    return {
        "cpu.cfs_period_us": str(PERIOD_US),
        "cpu.cfs_quota_us": str(quota),
        "cpu.max": f"{quota} {PERIOD_US}",
    }


@functools.cache
def _parents(root: Path = ROOT, own: Path = Path("/proc/self/cgroup")) -> dict[str, Path] | None:
    """Return where a group can be made, by controller; None where one of the needed cannot."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    paths = {name: path for _, names, path in lines for name in names.split(",")}
    found = {}
    for controller in (*_NEEDED, "cpu"):
        if controller in paths:
            parent: Path | None = _first_version(root, controller, paths[controller])
        else:
            parent = _second_version(root, controller, paths.get("", "/"))
        if parent is not None:
            found[controller] = parent
    return found if set(_NEEDED) <= set(found) else None


def _first_version(root: Path, controller: str, path: str) -> Path | None:
    for parent in (root / controller / path.lstrip("/"), root / controller):
        if os.access(parent, os.W_OK) and (parent / "cgroup.procs").exists():
            return parent
    return None


def _second_version(root: Path, controller: str, path: str) -> Path | None:
    """The nearest group above this process that hands the controller on and may be written."""
    own = root / path.lstrip("/")
    for parent in (own, *own.parents):
        with contextlib.suppress(OSError):
            handed = (parent / "cgroup.subtree_control").read_text().split()
            if controller in handed and os.access(parent, os.W_OK):
                return parent
        if parent == root:
            break
    return None
