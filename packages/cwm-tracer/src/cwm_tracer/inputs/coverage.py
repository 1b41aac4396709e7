"""What an execution reaches: lines, branches, exceptions, and shapes of values."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cwm_core.data.records import Outcome, TraceRecord
from cwm_core.trace.frames import Event, Frame

Feature = tuple[Any, ...]

_SIZES = (0, 1, 3, 7, 15, 63)
"""Upper ends of the classes of size; larger ones are one class."""
_SCANNED = 400
_WORD = re.compile(r"[A-Za-z_][\w.]*")


@dataclass(frozen=True, slots=True)
class Reached:
    """What one execution reaches; features of several executions can be united."""

    lines: frozenset[Feature]
    """(function, line)"""
    branches: frozenset[Feature]
    """(function, line, the line after it in the same frame); 0 for the call, -1 for the return."""
    raised: frozenset[Feature]
    """(function, line, class of the exception)"""
    shapes: frozenset[Feature]
    """(function, name, shape of a value)"""

    @property
    def places(self) -> frozenset[Feature]:
        """Lines, branches and exceptions."""
        return self.lines | self.branches | self.raised


NOTHING = Reached(frozenset(), frozenset(), frozenset(), frozenset())


def reached(frames: Iterable[Frame]) -> Reached:
    """Read what an execution reaches off its frames."""
    lines: set[Feature] = set()
    branches: set[Feature] = set()
    raised: set[Feature] = set()
    shapes: set[Feature] = set()
    last: dict[int | None, int] = {}
    for frame in frames:
        place, line = frame.function, frame.line_number or 0
        if frame.event is Event.CALL:
            last[frame.depth] = 0 if not frame.suspended else line
        elif frame.event is Event.LINE:
            lines.add((place, line))
            branches.add((place, last.get(frame.depth, 0), line))
            last[frame.depth] = line
        elif frame.event is Event.RETURN:
            branches.add((place, last.get(frame.depth, 0), -1))
        else:
            raised.add((place, line, shape(frame.value or "")))
        shapes |= _shapes(place, frame)
    return Reached(frozenset(lines), frozenset(branches), frozenset(raised), frozenset(shapes))


def _shapes(place: str | None, frame: Frame) -> set[Feature]:
    values: Mapping[str, str] = frame.locals or {}
    found = {(place, name, shape(text)) for name, text in values.items()}
    if frame.event is Event.RETURN and frame.value is not None:
        found.add((place, "return", shape(frame.value)))
    return found


@functools.lru_cache(maxsize=65536)
def shape(text: str) -> Feature:
    """Classify a value's text by type and size."""
    first = text[:1]
    if first.isdigit() or first == "-":
        return _number(text)
    if first in "'\"" or text[:2] in ("b'", 'b"'):
        return "text", _size(len(text) - 2)
    if first in ("[", "(", "{"):
        inside = text[1:2]
        return first, _size(_items(text)), "" if inside in "])}" else shape(text[1:41])[0]
    word = _WORD.match(text)
    return word[0] if word else first, 0


def _number(text: str) -> Feature:
    digits = text.lstrip("-")
    sign = digits != text
    if digits.isdigit():
        return "int", sign, 0 if digits == "0" else min(len(digits), 4)
    return "float", sign, "e" in digits, digits.endswith(".0")


def _size(count: int) -> int:
    return next((index for index, most in enumerate(_SIZES) if count <= most), len(_SIZES))


def _items(text: str) -> int:
    """Count the items of a container's text; of a long one, those at its beginning."""
    depth, quote, commas, at = 0, "", 0, 1
    stop = min(len(text) - 1, _SCANNED)
    while at < stop:
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and not depth:
            commas += 1
        at += 1
    return 0 if len(text) <= 2 else commas + (text[-2:] != ",)")


def is_misuse(record: TraceRecord) -> bool:
    """Whether an execution was left by an exception that tells of arguments of a wrong type.

    Those that a `raise` statement of the program makes are its own answer, and no misuse.
    """
    if record.outcome is not Outcome.RAISED:
        return False
    if not re.match(r"(TypeError|AttributeError)\b", record.reason):
        return False
    first = next((f for f in record.frames if f.event is Event.EXCEPTION), None)
    return first is None or not first.source.strip().startswith("raise")
