"""Recording of one call: the local trace function of a frame, and what was last shown of it.

The counterpart of `cwm_tracer.capture.recorder` for calls inside a process that goes on: it has
many traces at a time, of many files, and gives up on one of them without ending the process.
"""

from __future__ import annotations

from marshal import dumps
from types import FrameType
from typing import TYPE_CHECKING, Any

from cwm_tracer.capture.stream import FIELD, RECORD
from cwm_tracer.capture.values import ATOMS
from cwm_tracer.collect.repository.runtime.sources import Function

if TYPE_CHECKING:
    from cwm_tracer.collect.repository.runtime.cut import Cut

    _Known = tuple[type, Any, str, bool]

_COMPARED = frozenset({list, tuple, dict})


class Activation:
    """One frame of the repository's code, in one trace."""

    __slots__ = ("active", "cut", "depth", "function", "known", "number", "raised_at", "step")

    def __init__(self, cut: Cut, function: Function, number: int) -> None:
        self.cut = cut
        self.function = function
        self.number = number
        self.known: dict[str, _Known] = {}
        self.active = False
        self.depth = 0
        self.step = 0
        self.raised_at = -1

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Record one event of this frame (its local trace function)."""
        cut = self.cut
        if cut.over:
            frame.f_trace = None
            return None
        try:
            if event == "line":
                self._line(frame)
            elif event == "return":
                self._return(frame, arg)
            elif event == "exception":
                self._exception(frame, arg)
        except BaseException as error:
            cut.failed(error)
        if cut.over:
            frame.f_trace = None
            return None
        return self.trace

    def enter(self, frame: FrameType, resumed: bool) -> None:
        """Record the call of this frame, or its resumption."""
        cut = self.cut
        self.active = True
        self.raised_at = -1
        self.step = 0
        self.depth = cut.depth
        cut.depth += 1
        line = self.function.multi.get(frame.f_lineno, frame.f_lineno)
        head = ["s" if resumed else "c", str(self.number), str(line), str(self.depth)]
        head.append(str(cut.number_of(self.function)))
        cut.write(FIELD.join(head) + self._changes(frame) + RECORD)

    def _line(self, frame: FrameType) -> None:
        line = frame.f_lineno
        self.raised_at = -1
        shown = self.function.multi.get(line)
        if shown is None:
            self.step = 0
            if frame.f_lasti in self.function.repeats:
                return
        elif shown == self.step:
            return
        else:
            self.step = line = shown
        place = f"l{FIELD}{self.number}{FIELD}{line}"
        self.cut.write(place + self._changes(frame) + RECORD)

    def _exception(self, frame: FrameType, arg: Any) -> None:
        self.raised_at = frame.f_lasti
        text = self.cut.renderer.text(arg[1])
        self.cut.exception = text
        self._value("e", frame, text)

    def _return(self, frame: FrameType, arg: Any) -> None:
        # An exception thrown in at a yield leaves the frame there, too.
        suspended = self.function.yields(frame.f_lasti) and self.raised_at != frame.f_lasti
        self._value("y" if suspended else "r", frame, self.cut.renderer.text(arg))
        if self.active:
            self.active = False
            self.cut.depth -= 1
        self.cut.left(self, suspended, self.function.returns(frame.f_lasti))

    def _value(self, kind: str, frame: FrameType, text: str) -> None:
        line = self.function.multi.get(frame.f_lineno, frame.f_lineno)
        self.cut.write(FIELD.join([kind, str(self.number), str(line), text]) + RECORD)

    def _changes(self, frame: FrameType) -> str:
        """Return the names whose text is new with their text, and those that are gone."""
        values: Any = frame.f_locals
        if self.function.hides:
            values = {name: value for name, value in values.items() if name != "__class__"}
        known = self.known
        nodes = self.cut.renderer.value_nodes
        parts = []
        for name, value in values.items():
            kind = type(value)
            old = known.get(name)
            if old is not None and old[0] is kind:
                if old[1] is value:
                    continue
                if old[3] and len(value) <= nodes and _fingerprint(value) == old[1]:
                    continue
            new = self._rendered(value, kind)
            known[name] = new
            if old is None or old[2] != new[2]:
                parts.append(FIELD + name + FIELD + new[2])
        if len(values) != len(known):
            for name in [name for name in known if name not in values]:
                del known[name]
                parts.append(FIELD + name + FIELD)
        return "".join(parts)

    def _rendered(self, value: Any, kind: type) -> _Known:
        """Return class, key and text of a value, and whether the key is a fingerprint.

        The key of an atom is the value itself; None where nothing tells that a value is the same.
        """
        renderer = self.cut.renderer
        if type(kind) is not type:
            return kind, None, renderer.text(value), False
        if kind in ATOMS:
            return kind, value, renderer.atom(value, kind), False
        text = renderer.text(value)
        if kind in _COMPARED and renderer.plain and len(value) <= renderer.value_nodes:
            mark = _fingerprint(value)
            return kind, mark, text, mark is not None
        return kind, None, text, False


def _fingerprint(value: Any) -> bytes | None:
    """Return bytes that differ whenever the text of a plain container may differ.

    In this version of `marshal` shared items cost no more than once.
    """
    try:
        return dumps(value, 4)
    except (ValueError, RecursionError):
        return None
