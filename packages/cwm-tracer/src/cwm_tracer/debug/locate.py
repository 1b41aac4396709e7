"""Which line of a program an event is about, where only the line's text is known."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from cwm_core.trace.frames import START_OF_TRACE

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    first: int
    last: int


class SourceMap:
    """A program's lines; line numbers count from 1, and 0 stands for none."""

    def __init__(self, context: str) -> None:
        """Take the context of a trace; its start marker is not part of any line."""
        text = context.replace(f"  {START_OF_TRACE}", "")
        self.text = text
        self.lines = text.rstrip("\n").split("\n")
        self._places: dict[str, list[int]] = defaultdict(list)
        for number, line in enumerate(self.lines, start=1):
            self._places[line.rstrip()].append(number)

    @cached_property
    def _functions(self) -> list[_Function]:
        try:
            tree = ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return []
        return [
            _Function(name, node.lineno, node.end_lineno or node.lineno)
            for node, name in _named(tree, "")
        ]

    @cached_property
    def executable(self) -> list[int]:
        """The lines that can have events, ascending."""
        try:
            pending = [compile(self.text, "<program>", "exec", dont_inherit=True)]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return []
        found: set[int] = set()
        while pending:
            code = pending.pop()
            found |= {line for _, _, line in code.co_lines() if line}
            pending += [each for each in code.co_consts if hasattr(each, "co_lines")]
        return sorted(found)

    def same(self, number: int, source: str) -> bool:
        """Whether a line reads like the source line of an event."""
        within = 0 < number <= len(self.lines)
        return within and self.lines[number - 1].rstrip() == _plain(source)

    def definition(self, source: str) -> int:
        """Return the line of a `def` that reads so."""
        places = self._places.get(_plain(source), [])
        return places[0] if places else 0

    def line(self, source: str, first: int, before: int) -> int:
        """Return the line that reads so: in the function that begins at line `first`, where it has
        one, and of several the first after line `before`, else the last before it."""
        places = self._places.get(_plain(source), [])
        inside = [number for number in places if self._within(number, first)] or places
        if not inside:
            return 0
        return next((number for number in inside if number > before), inside[-1])

    def _within(self, number: int, first: int) -> bool:
        return any(f.first == first and first <= number <= f.last for f in self._functions)

    def function_at(self, number: int) -> str | None:
        """Name the innermost function or class around a line."""
        around = [f for f in self._functions if f.first <= number <= f.last]
        return max(around, key=lambda f: f.first).name if around else None


def _plain(source: str) -> str:
    return source.replace(START_OF_TRACE, "").rstrip()


def _named(node: ast.AST, prefix: str) -> list[tuple[_Definition, str]]:
    found: list[tuple[_Definition, str]] = []
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, _Definition):
            found.append((child, prefix + child.name))
            local = "" if isinstance(child, ast.ClassDef) else "<locals>."
            inner = f"{prefix}{child.name}.{local}"
        found += _named(child, inner)
    return found
