"""Of each event, the nearest events before and after it that lie no deeper in the stack."""

from __future__ import annotations

from array import array

NONE = -1


class Nearest:
    """Answers where a step over, out or back ends, without a walk through what lies between.

    The events whose successors are not known yet form a stack of depths that never fall from its
    bottom to its top, the classic way to find nearest smaller values in linear time: each event is
    put on it once and taken off once.
    """

    def __init__(self) -> None:
        self._depths = array("i")
        self._before = array("i")
        self._within = array("i")
        self._outside = array("i")
        self._pending: list[int] = []

    def before(self, index: int) -> int:
        """Return the latest event before this one that lies no deeper, -1 for none."""
        return self._before[index]

    def within(self, index: int) -> int:
        """Return the first event after this one that lies no deeper, -1 for none."""
        return self._within[index]

    def outside(self, index: int) -> int:
        """Return the first event after this one that lies less deep, -1 for none."""
        return self._outside[index]

    def append(self, depth: int) -> None:
        """Take the depth of the next event."""
        index = len(self._depths)
        depths, within, pending = self._depths, self._within, self._pending
        while pending and depths[pending[-1]] > depth:
            deeper = pending.pop()
            self._outside[deeper] = index
            if within[deeper] == NONE:
                within[deeper] = index
        if pending and depths[pending[-1]] == depth:
            within[pending[-1]] = index
        self._before.append(pending[-1] if pending else NONE)
        depths.append(depth)
        within.append(NONE)
        self._outside.append(NONE)
        pending.append(index)

    def cut(self, length: int) -> None:
        """Forget all events from `length` on."""
        for column in (self._depths, self._before, self._within, self._outside):
            del column[length:]
        pending = []
        index = length - 1
        while index >= 0:
            pending.append(index)
            self._outside[index] = NONE
            if self._within[index] >= length:
                self._within[index] = NONE
            index = self._before[index]
        self._pending = pending[::-1]
