"""Work for executors under test, well and ill behaved; light, because every worker imports it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BEHAVIOURS = (
    *["fine"] * 3,
    *["raise", "odd exception", "sys.exit", "os._exit", "SIGKILL", "unpicklable"],
    *["fine"] * 3,
)


class OddError(Exception):
    """Cannot be pickled, nor shown."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("odd")

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unpicklable:
    """Refuses to be sent."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot be sent")


def square(number: int) -> int:
    """Return the square."""
    return number * number


def negate(number: int) -> int:
    """Return the negative."""
    return -number


def echo_type(item: object) -> str:
    """Return the name of the item's type."""
    return type(item).__name__


def misbehave(how: str) -> Any:
    """Fail in the way that `how` says."""
    if how == "raise":
        raise ValueError("boom")
    if how == "odd exception":
        raise OddError(1, 2)
    if how == "sys.exit":
        sys.exit(3)
    if how == "os._exit":
        os._exit(3)
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "unpicklable":
        return Unpicklable()
    return how


def maybe_hang(seconds: float) -> float:
    """Sleep through every polite request to stop."""
    if seconds:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.1)
    return seconds


def crash_once(marker: str) -> str:
    """Die, unless the marker shows that this has happened before."""
    path = Path(marker)
    if path.exists():
        return "survived"
    path.touch()
    os._exit(1)


def start_child(pid_file: str) -> None:
    """Start a process that outlives any polite end, write its pid, and hang."""
    child = subprocess.Popen(["sleep", "600"])
    Path(pid_file).write_text(str(child.pid))
    time.sleep(600)
