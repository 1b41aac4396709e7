"""Events in order, and what a debugger asks of them: activations, stacks, states, lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cwm_core.trace.frames import Event, Frame
from cwm_tracer.debug.locate import SourceMap


@dataclass(slots=True)
class _Open:
    """A call under way."""

    activation: int
    depth: int


@dataclass(frozen=True, slots=True)
class StackEntry:
    """One function on the stack: its latest event, and that event's place."""

    index: int
    """The event that shows the function's state."""
    function: str
    line: int
    """1-based; 0 where the line is not in the program."""


@dataclass(slots=True)
class Timeline:
    """Events of one thread, to which more can be appended, or the latest taken back.

    Depths and lines come from the events where they were recorded; those of a predicted event
    follow from the events before it and from the program's text.
    """

    source: SourceMap
    frames: list[Frame] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    activations: list[int] = field(default_factory=list)
    """Of each event, the index of the call event with which the stay in its function began."""
    _before: list[int] = field(default_factory=list)
    """Of each event, the one before it in the same activation; -1 for the first."""
    _caller: dict[int, int] = field(default_factory=dict)
    """Of each activation, the caller's latest event; -1 where there is none."""
    _open: list[_Open] = field(default_factory=list)

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
        activation = opened.activation
        before = self._latest(activation, index)
        self.frames.append(frame)
        self.activations.append(activation)
        self._before.append(before)
        self.depths.append(opened.depth)
        self.lines.append(frame.line_number or self._line(frame, activation, before))

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
            caller = index - 1 if stack else -1
            depth = len(stack) if frame.depth is None else frame.depth
            self._caller[index] = caller
            stack.append(_Open(index, depth))
        return stack[-1]

    def _latest(self, activation: int, index: int) -> int:
        at = index - 1
        while at >= activation and self.activations[at] != activation:
            # All that lies between belongs to calls from here: go to where the last began.
            at = self._caller[self.activations[at]]
        return at if at >= activation else -1

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
        kept = self.frames[:length]
        for column in (self.frames, self.lines, self.depths, self.activations, self._before):
            del column[:]
        self._caller.clear()
        self._open.clear()
        self.extend(kept)

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

    def previous(self, index: int) -> int:
        """Return the event before in the same activation, -1 where there is none."""
        return self._before[index]

    def changed(self, index: int) -> set[str]:
        """Name the locals that are new or different since the event before in this function."""
        before = self._before[index]
        known = self.state(before) if before >= 0 else {}
        return {name for name, text in self.state(index).items() if known.get(name) != text}

    def stack(self, index: int) -> list[StackEntry]:
        """Return the functions that are under way at an event, the innermost first."""
        entries = []
        while index >= 0:
            entries.append(StackEntry(index, self.function(index), self.lines[index]))
            index = self._caller[self.activations[index]]
        return entries
