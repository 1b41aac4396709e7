"""Work that is done before it is asked for, in a thread of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Place = TypeVar("Place")
Value = TypeVar("Value")


class Ahead(Generic[Place, Value]):
    """Calls ``make(place, count) -> (value, next place)`` for the places that follow.

    As long as each call goes on where the last one ended, with the same count, its result is
    ready or under way; a call elsewhere starts anew there. An error comes where it belongs: from
    the call whose work raised it.
    """

    def __init__(
        self, make: Callable[[Place, int], tuple[Value, Place]], depth: int, name: str
    ) -> None:
        self._make, self._depth = make, depth
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._queue: deque[Future[tuple[Value, Place]]] = deque()
        self._next: tuple[Place, int] | None = None
        self.waited_s = 0.0
        """Time that callers have waited, in all."""

    def take(self, place: Place, count: int) -> tuple[Value, Place]:
        """Return what `make` returns for a place, and begin with what follows."""
        if (place, count) != self._next:
            self._drop()
            self._queue.append(self._pool.submit(self._make, place, count))
        begin = time.perf_counter()
        value, after = self._queue[0].result()
        self.waited_s += time.perf_counter() - begin
        last = self._queue.popleft()
        while len(self._queue) < self._depth:
            last = self._queue[-1] if self._queue else last
            self._queue.append(self._pool.submit(self._follow, last, count))
        self._next = (after, count)
        return value, after

    def _follow(self, before: Future[tuple[Value, Place]], count: int) -> tuple[Value, Place]:
        return self._make(before.result()[1], count)

    def _drop(self) -> None:
        for future in self._queue:
            future.cancel()
        self._queue.clear()
