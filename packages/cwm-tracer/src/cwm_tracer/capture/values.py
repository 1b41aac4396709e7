"""Values as text: `repr` where that is safe and small, and a bounded, address-free form elsewhere.

Within its budgets the text of a builtin value equals its `repr`, but for the order of sets (numbers
ascending, anything else by text). What is left out is marked ``<+N more>``, outside of any string
literal: N characters of a string or bytes, or N items of a container. Objects of other classes
show their fields, ``Point(x=1, y=2)``, without running any of the program's code.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from cwm_tracer.capture import objects
from cwm_tracer.capture.renderers import NONE, Renderers

ATOMS = frozenset(
    {int, bool, str, float, bytes, complex, type(None), type(...), type(NotImplemented), range}
)
"""Exact types whose instances are immutable and hold no other value."""

# Classes are looked up by id where they may be the program's: a metaclass can define `__hash__`.
_ATOM_IDS = frozenset(map(id, ATOMS))
FLAT_IDS = frozenset(map(id, (int, bool, float, str, type(None))))
"""Ids of the classes of atoms of which nothing is left out but characters of strings."""
_LIST_IDS = frozenset({id(list)})
_INTEGER_IDS = frozenset({id(int)})
_CONTAINER_IDS = frozenset(map(id, (list, tuple, dict, set, frozenset)))
_BRACKETS: dict[Any, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    dict: ("{", "}"),
}
_SEPARATORS = str.maketrans({"\x1e": "\\x1e", "\x1f": "\\x1f"})
_ELISION = re.compile(
    r"""b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|<\+(?P<count>\d+)\ more>""", re.VERBOSE
)


def elided(text: str) -> int:
    """Count what a rendered text leaves out: items and characters, by its ``<+N more>`` marks."""
    return sum(int(mark["count"]) for mark in _ELISION.finditer(text) if mark["count"])


class Renderer:
    """Renders values one at a time, each under budgets of characters, nodes and depth."""

    def __init__(
        self,
        *,
        value_bytes: int = 8192,
        value_nodes: int = 2048,
        value_depth: int = 24,
        call_repr: bool = False,
        module: str = "program",
        renderers: Renderers = NONE,
    ) -> None:
        self.value_nodes = value_nodes
        self.plain = False
        """Whether the last text depends only on what `marshal` sees (exact builtin types)."""
        self.shown = 0
        """How many items of the last value were rendered; `sys.maxsize` if all were."""
        self.module = module
        self.call_repr = call_repr
        self.renderers = renderers
        """What third parties render."""
        self.half_built: dict[int, int] = {}
        """Ids of objects whose ``__init__`` runs, with a count; their `repr` is never called."""
        self.value_bytes = value_bytes
        self.value_depth = value_depth
        self._left = value_bytes
        self._nodes = value_nodes
        self._open: set[int] = set()
        self._numbers = objects.Numbers()

    def text(self, value: Any) -> str:
        """Render a value; never raises, but for the end of memory or of the stack."""
        self._left = self.value_bytes
        self._nodes = self.value_nodes
        self.plain = True
        self.shown = sys.maxsize
        self._open.clear()
        text = self.render(value, 0)
        return text if text != ".." else "<..>"

    def render(self, value: Any, depth: int) -> str:
        """Render a value that lies `depth` containers deep, within what the budgets have left."""
        kind = type(value)
        try:
            self._nodes -= 1
            if id(kind) in _ATOM_IDS:
                return self._atom(value, kind)
            if id(kind) in _CONTAINER_IDS:
                return self._container(value, kind, depth)
            self.plain = False
            return objects.render(self, value, kind, depth).translate(_SEPARATORS)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:
            self.plain = False
            text = f"<{objects.name_of(kind)} object (repr raised {objects.name_of(type(error))})>"
            return text.translate(_SEPARATORS)

    def atom(self, value: Any, kind: type) -> str:
        """Render a value of one of the `ATOMS` by itself."""
        self._left = self.value_bytes
        return self._atom(value, kind)

    def _atom(self, value: Any, kind: type) -> str:
        if kind is str or kind is bytes:
            if kind is bytes:
                self.plain = False
            return self.cut(value)
        if kind is int and value.bit_length() > 128:
            text = self._big_integer(value)
        else:
            text = repr(value)
        self._left -= len(text) + 2
        return text

    def cut(self, value: str | bytes) -> str:
        """Render a string or bytes, of which at most the remaining budget is shown."""
        room = max(self._left, 16)
        if len(value) <= room:
            text = repr(value)
        else:
            # Comparing whole large strings is not worth it, unless by identity.
            self.plain = False
            text = f"{value[:room]!r}<+{len(value) - room} more>"
        self._left -= len(text) + 2
        return text

    def bounded(self, text: str) -> str:
        """Cut a text that is ready, marking what is left out."""
        room = max(self._left, 64)
        self._left -= min(len(text), room)
        return text if len(text) <= room else f"{text[:room]}<+{len(text) - room} more>"

    def _big_integer(self, value: int) -> str:
        """Render within the budget; the interpreter's own limit on digits depends on a setting."""
        bits = value.bit_length()
        if bits * 0.30103 <= min(self._left, 4000):
            try:
                return repr(value)
            except ValueError:
                pass
        return f"<int of {bits} bits>"

    def _container(self, value: Any, kind: type, depth: int) -> str:
        if kind is list or kind is tuple or kind is dict:
            text = self._flat(value, kind)
            if text is None and kind is list and depth < self.value_depth:
                text = self._rows(value)
            if text is not None:
                return text
        if id(value) in self._open:
            self.plain = False
            return self._wrapped("...", kind, 2)
        self._open.add(id(value))
        try:
            return self.content(value, kind, depth)
        finally:
            self._open.discard(id(value))

    def content(self, value: Any, kind: Any, depth: int) -> str:
        """Render what a container holds as the builtin `kind`, which it is or extends."""
        count = kind.__len__(value)
        if not count:
            self._left -= 4
            return repr(kind())
        if depth >= self.value_depth:
            self.plain = False
            return self._wrapped(f"<+{count} more>", kind, count)
        self._left -= 2
        if kind is dict:
            inside = self.entries(dict.items(value), count, depth + 1)
        elif kind is list or kind is tuple:
            inside = self.items(kind.__iter__(value), count, depth + 1)
        else:
            inside = self._members(list(kind.__iter__(value)), count, depth + 1)
        return self._wrapped(inside, kind, count)

    def _wrapped(self, inside: str, kind: type, count: int) -> str:
        if kind is frozenset:
            return f"frozenset({{{inside}}})"
        opening, closing = _BRACKETS[kind]
        comma = "," if kind is tuple and count == 1 else ""
        return f"{opening}{inside}{comma}{closing}"

    def _flat(self, value: Any, kind: type) -> str | None:
        """Render a small list, tuple or dict of plain atoms with `repr` itself, the fastest way."""
        count = len(value)
        if 2 * count > self._nodes or count > self._left:
            return None
        room = self._left
        for part in (value, value.values()) if kind is dict else (value,):
            kinds = set(map(id, map(type, part)))
            if not kinds <= FLAT_IDS:
                return None
            if id(str) in kinds:
                texts = part if len(kinds) == 1 else [v for v in part if type(v) is str]
                room -= sum(map(len, texts))
        if room < 0:
            return None
        try:
            text = repr(value)
        except ValueError:
            return None
        if len(text) > self._left:
            return None
        self._left -= len(text) + 2
        self._nodes -= 2 * count if kind is dict else count
        return text

    def _rows(self, value: list[Any]) -> str | None:
        """Render a small list of lists of atoms with `repr`, charging what each would cost."""
        count = len(value)
        if 3 * count > self._nodes or set(map(id, map(type, value))) != _LIST_IDS:
            return None
        cells = sum(map(len, value))
        if 3 * (count + cells) > self._nodes or cells > self._left:
            return None
        flat = list(chain.from_iterable(value))
        if not FLAT_IDS.issuperset(map(id, map(type, flat))):
            return None
        if sum(len(cell) for cell in flat if type(cell) is str) > self._left:
            return None
        try:
            text = repr(value)
        except ValueError:
            return None
        if len(text) + 2 * count + 4 > self._left:
            return None
        self._left -= len(text) + 2
        self._nodes -= count + cells
        return text

    def items(self, values: Iterable[Any], count: int, depth: int) -> str:
        """Render items separated by commas, until a budget ends."""
        return ", ".join(self._each(values, count, depth, self.render))

    def entries(self, pairs: Iterable[tuple[Any, Any]], count: int, depth: int) -> str:
        """Render ``key: value`` pairs separated by commas, until a budget ends."""
        return ", ".join(self._each(pairs, count, depth, self._entry))

    def fields(self, pairs: Iterable[tuple[str, Any]], count: int, depth: int) -> str:
        """Render ``name=value`` pairs separated by commas, until a budget ends."""
        return ", ".join(self._each(pairs, count, depth, self._field))

    def _entry(self, pair: tuple[Any, Any], depth: int) -> str:
        return f"{self.render(pair[0], depth)}: {self.render(pair[1], depth)}"

    def _field(self, pair: tuple[str, Any], depth: int) -> str:
        self._left -= len(pair[0]) + 1
        return f"{pair[0]}={self.render(pair[1], depth)}"

    def _each(
        self, values: Iterable[Any], count: int, depth: int, one: Callable[[Any, int], str]
    ) -> Iterator[str]:
        for index, value in enumerate(values):
            if self._nodes <= 0 or self._left <= 0:
                if depth > 1:
                    self.plain = False
                else:
                    self.shown = index
                yield f"<+{count - index} more>"
                return
            yield one(value, depth)

    def _members(self, value: list[Any], count: int, depth: int) -> str:
        """Render the members of a set in an order that does not depend on hashes."""
        if set(map(id, map(type, value))) == _INTEGER_IDS:
            return self.items(sorted(value), count, depth)
        texts = list(self._each(value, count, depth, self.render))
        marks = [texts.pop()] if texts[-1].startswith("<+") else []
        return ", ".join(sorted(texts) + marks)

    def numbered(self, value: Any, kind: type) -> str:
        """Render an object without visible fields: its class, and a number that is its own."""
        number = self._numbers.of(value, kind)
        suffix = f" #{number}" if number else ""
        return f"<{objects.name_of(kind)} object{suffix}>"

    def of_address(self, found: re.Match[str]) -> str:
        """Return a number of its own for an address in a text that a program made."""
        return f"#{self._numbers.of_address(int(found[1], 16))}"

    def enter(self, value: Any) -> bool:
        """Mark an object as being rendered; false if it already is (a cycle)."""
        if id(value) in self._open:
            return False
        self._open.add(id(value))
        return True

    def leave(self, value: Any) -> None:
        """Undo `enter`."""
        self._open.discard(id(value))

    def too_deep(self, depth: int) -> bool:
        """Whether nothing deeper may be shown."""
        return depth >= self.value_depth or self._nodes <= 0 or self._left <= 0

    def part(
        self, value: Any, depth: int, left: int, nodes: int, around: Iterable[int]
    ) -> tuple[str, int, int]:
        """Render a part of a value for the native recorder, which renders what is around it.

        `around` are the ids of the containers that are being rendered. Returns the text and what
        the budgets of characters and nodes have left.
        """
        self._left = left
        self._nodes = nodes
        self._open.clear()
        self._open.update(around)
        return self.render(value, depth), self._left, self._nodes
