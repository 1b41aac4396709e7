"""Who made a sandbox, so that what a dead process left behind can be found and removed."""

from __future__ import annotations

import functools
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, exactly: process ids are used again, and machines share engines and disks."""

    pid: int
    started: float
    """When the process started, in seconds since the epoch."""
    namespace: str
    """The namespace of the pid."""
    boot: str
    """The boot of the machine."""
    machine: str
    """The machine, which several may share an engine with."""

    def to_json(self) -> str:
        """Return a short text."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Owner:
        """Return the owner that a text describes; ValueError when it describes none."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"no owner: {text[:200]!r}") from error

    def is_dead(self) -> bool:
        """Whether the process is certainly gone; one that cannot be seen from here may live."""
        if self.machine != _machine():
            return False
        if self.boot != _boot():
            return True
        if self.namespace != _namespace():
            return False
        try:
            started = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return True
        return abs(started - self.started) > 1


def this_process() -> Owner:
    """Return the running process as an owner."""
    return _of(os.getpid())


@functools.cache
def _of(pid: int) -> Owner:
    return Owner(pid, psutil.Process(pid).create_time(), _namespace(), _boot(), _machine())


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


@functools.cache
def _machine() -> str:
    try:
        return f"{platform.node()} {Path('/etc/machine-id').read_text().strip()}"
    except OSError:
        return platform.node()
