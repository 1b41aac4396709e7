"""Following a program into the threads that it starts.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable
from typing import Any, Protocol

_STARTERS = ("start_new_thread", "start_new", "start_joinable_thread")


class Follower(Protocol):
    """What wants to see every thread."""

    def share(self) -> None:
        """A thread is about to be started, by the calling one."""

    def start_thread(self) -> None:
        """The calling thread begins."""

    def end_thread(self) -> None:
        """The calling thread ends."""


def follow(follower: Follower) -> None:
    """Have a follower told of every thread started from now on."""
    threading = sys.modules.get("threading")
    for name in _STARTERS:
        start = getattr(_thread, name, None)
        if start is not None:
            started = _following(start, follower)
            setattr(_thread, name, started)
            if getattr(threading, f"_{name}", None) is start:
                setattr(threading, f"_{name}", started)


def _following(start: Callable[..., Any], follower: Follower) -> Callable[..., Any]:
    def start_new_thread(function: Any, *args: Any, **named: Any) -> Any:
        if not callable(function):
            return start(function, *args, **named)

        def run(*args: Any, **named: Any) -> Any:
            follower.start_thread()
            try:
                return function(*args, **named)
            finally:
                follower.end_thread()

        follower.share()
        return start(run, *args, **named)

    return start_new_thread
