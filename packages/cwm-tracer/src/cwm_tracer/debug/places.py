"""Where the events of a timeline are that a breakpoint can be about."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence

from cwm_core.trace.frames import Event


class Places:
    """Ascending indices of events: by line, by called function, and of exceptions."""

    def __init__(self) -> None:
        self._lines: dict[int, array[int]] = defaultdict(_ascending)
        self._calls: dict[str, array[int]] = defaultdict(_ascending)
        self._exceptions = _ascending()

    def append(self, index: int, event: Event, line: int) -> None:
        """Take the next event."""
        if event is Event.LINE:
            self._lines[line].append(index)
        elif event is Event.EXCEPTION:
            self._exceptions.append(index)

    def called(self, index: int, function: str) -> None:
        """Take the function that an event calls."""
        for name in names(function):
            self._calls[name].append(index)

    def cut(self, length: int) -> None:
        """Forget all events from `length` on."""
        for known in (*self._lines.values(), *self._calls.values(), self._exceptions):
            del known[bisect_left(known, length) :]

    def line(self, number: int) -> Sequence[int]:
        """Return the events before a line runs."""
        return self._lines.get(number, ())

    def calls(self, function: str) -> Sequence[int]:
        """Return the calls of functions of this name, qualified or not."""
        return self._calls.get(function, ())

    @property
    def exceptions(self) -> Sequence[int]:
        """The events of raised exceptions."""
        return self._exceptions


def names(function: str) -> tuple[str, ...]:
    """Return what a function is called by: its qualified name, and the last part of that."""
    last = function.rpartition(".")[2]
    return (function,) if last == function else (function, last)


def between(known: Sequence[int], start: int, end: int) -> Iterator[int]:
    """Yield those of some ascending indices that lie strictly between two, from `start` on."""
    if start <= end:
        numbers = range(bisect_right(known, start), bisect_left(known, end))
    else:
        numbers = range(bisect_left(known, start) - 1, bisect_right(known, end) - 1, -1)
    return (known[number] for number in numbers)


def _ascending() -> array[int]:
    return array("i")
