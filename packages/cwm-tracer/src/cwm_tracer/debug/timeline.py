"""Events in order, and what a debugger asks of them: activations, stacks, states, lines."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from cwm_core.trace.frames import Event, Frame
from cwm_tracer.debug.locate import SourceMap
from cwm_tracer.debug.nearest import NONE, Nearest
from cwm_tracer.debug.places import Places


@dataclass(slots=True)
class _Open:
    """A call under way."""

    activation: int
    depth: int
    latest: int
    """Its latest event."""


@dataclass(frozen=True, slots=True)
class StackEntry:
    """One function on the stack: its latest event, and that event's place."""

    index: int
    """The event that shows the function's state."""
    function: str
    line: int
    """1-based; 0 where the line is not in the program."""


class Timeline:
    """Events of one thread, to which more can be appended, or the latest taken back.

    Depths and lines come from the events where they were recorded; those of a predicted event
    follow from the events before it and from the program's text. Whatever a step asks for is
    looked up: nothing is searched for, however many events there are.
    """

    def __init__(self, source: SourceMap) -> None:
        self.source = source
        self.frames: list[Frame] = []
        self.lines = array("i")
        self.depths = array("i")
        self.activations = array("i")
        """Of each event, the index of the call event with which the stay in its function began."""
        self.nearest = Nearest()
        self.places = Places()
        self._before = array("i")
        """The one before it in the same activation, -1 for the first."""
        self._callers = array("i")
        """The latest of the function that called its own, -1 where there is none."""
        self._heights = array("i")
        self._open: list[_Open] = []

    def __len__(self) -> int:
        return len(self.frames)

    def extend(self, frames: Iterable[Frame]) -> None:
        """Append events in order."""
        for frame in frames:
            self.append(frame)

    def append(self, frame: Frame) -> None:
        """Append one event."""
        index = len(self.frames)
        opened = self._place(frame, index)
        activation, before = opened.activation, opened.latest
        opened.latest = index
        line = frame.line_number or self._line(frame, activation, before)
        self.frames.append(frame)
        self.activations.append(activation)
        self._before.append(before)
        self._callers.append(self._open[-2].latest if len(self._open) > 1 else NONE)
        self._heights.append(len(self._open))
        self.depths.append(opened.depth)
        self.lines.append(line)
        self.nearest.append(opened.depth)
        self.places.append(index, frame.event, line)
        if frame.event is Event.CALL:
            self.places.called(index, self.function(index))

    def _place(self, frame: Frame, index: int) -> _Open:
        """Find or open the activation of an event."""
        stack = self._open
        if self.frames and self.frames[-1].event is Event.RETURN and stack:
            stack.pop()
        if frame.depth is not None:
            least = frame.depth if frame.event is Event.CALL else frame.depth + 1
            while stack and stack[-1].depth >= least:
                stack.pop()
        if frame.event is Event.CALL or not stack:
            depth = len(stack) if frame.depth is None else frame.depth
            stack.append(_Open(index, depth, NONE))
        return stack[-1]

    def _line(self, frame: Frame, activation: int, before: int) -> int:
        if frame.event is Event.CALL:
            return self.source.definition(frame.source)
        if frame.event is not Event.LINE and before >= 0:
            last = self.lines[before]
            if self.source.same(last, frame.source):
                return last
        first = self.lines[activation] if activation < len(self.lines) else 0
        return self.source.line(frame.source, first, self.lines[before] if before >= 0 else first)

    def cut(self, length: int) -> None:
        """Forget all events from `length` on."""
        del self.frames[length:]
        columns = (self.lines, self.depths, self.activations)
        for column in (*columns, self._before, self._callers, self._heights):
            del column[length:]
        self.nearest.cut(length)
        self.places.cut(length)
        self._open = [
            _Open(self.activations[index], self.depths[index], index)
            for index in self._under_way(length - 1)
        ][::-1]

    def replace_last(self, frame: Frame) -> None:
        """Put another event of the same kind in the place of the last."""
        self.frames[-1] = frame

    def function(self, index: int) -> str:
        """Name the function of an event."""
        name = self.frames[index].function
        return name or self.source.function_at(self.lines[self.activations[index]]) or "?"

    def state(self, index: int) -> Mapping[str, str]:
        """Return the locals at an event: on a return or exception, those last shown."""
        while index >= 0:
            shown = self.frames[index].locals
            if shown is not None:
                return shown
            index = self._before[index]
        return {}

    def changed(self, index: int, names: Collection[str] | None = None) -> set[str]:
        """Name the locals, all or of some, that are new or different since the event before in
        this function."""
        before = self._before[index]
        known = self.state(before) if before >= 0 else {}
        state = self.state(index)
        asked = state if names is None else [name for name in names if name in state]
        return {name for name in asked if known.get(name) != state[name]}

    def height(self, index: int) -> int:
        """Return how many functions are under way at an event."""
        return self._heights[index]

    def stack(self, index: int, first: int = 0, most: int | None = None) -> list[StackEntry]:
        """Return the functions that are under way at an event, the innermost first.

        Of these, `first` are left out, and no more than `most` returned.
        """
        last = None if most is None else first + most
        return [
            StackEntry(each, self.function(each), self.lines[each])
            for each in islice(self._under_way(index), first, last)
        ]

    def _under_way(self, index: int) -> Iterator[int]:
        while index >= 0:
            yield index
            index = self._callers[index]
