"""Which thread and which asyncio task an event belongs to.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

import sys
import weakref
from _thread import RLock, get_ident
from collections.abc import Callable
from typing import Any

from cwm_tracer.capture.stream import FIELD, RECORD

_Key = tuple[int, int]


class Thread:
    """A thread in which frames of the program run."""

    __slots__ = ("depth", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.depth = 0
        """Nested calls of the program's functions."""


class Tracks:
    """Numbers threads and tasks in the order of their first call event; the entry's are 0."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.lock: RLock | None = None
        """Taken by every event as soon as there may be a second thread."""
        self._write = write
        self._last = 0
        self._threads: dict[int, Thread] = {}
        self._started = 0
        self._numbers: dict[_Key, tuple[int, Any]] = {}
        self._used = 0
        self._only: Thread | None = None

    def share(self) -> None:
        """Prepare for a second thread; called by the one that starts it."""
        if self.lock is None:
            self.lock = RLock()

    def end_thread(self) -> None:
        """Forget the calling thread, whose identifier another one may get."""
        ident = get_ident()
        self._threads.pop(ident, None)
        for key in [key for key in list(self._numbers) if key[0] == ident]:
            self._numbers.pop(key, None)

    def enter(self) -> Thread:
        """Return the thread of a call event, after a record of its track if that is a new one."""
        if self._only is not None and self.lock is None and "asyncio" not in sys.modules:
            return self._only
        ident, task = get_ident(), _current_task()
        thread = self._threads.get(ident)
        if thread is None:
            thread = self._threads[ident] = Thread(self._started)
            self._started += 1
            self._only = self._only or thread
        number = self._number(ident, task)
        if number != self._last:
            self._last = number
            self._write(f"t{FIELD}{number}{FIELD}{thread.number}{RECORD}")
        return thread

    def _number(self, ident: int, task: Any) -> int:
        key = ident, 0 if task is None else id(task)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = self._used, self._end_of(task, key)
            self._used += 1
        return found[0]

    def _end_of(self, task: Any, key: _Key) -> Any:
        """Watch for the end of a task, whose address another one may get."""
        try:
            return task and weakref.ref(task, lambda _: self._numbers.pop(key, None))
        except TypeError:
            return None


def _current_task() -> Any:
    """Return the task that runs in this thread, if any."""
    asyncio = sys.modules.get("asyncio")
    try:
        loop = asyncio._get_running_loop()  # type: ignore[union-attr]
        return None if loop is None else asyncio.current_task(loop)  # type: ignore[union-attr]
    except AttributeError:  # it is being imported
        return None
