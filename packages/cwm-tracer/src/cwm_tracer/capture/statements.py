"""What the source says about lines: which belong to one statement, and where the entry starts.

Uses the standard library only, and runs on Python 3.8: this module is part of the process of the
traced program.
"""

from __future__ import annotations

import ast
import dis
import opcode
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    _Span = tuple[int, int, int, int]

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LOOP_HEADS = frozenset(opcode.opmap[name] for name in ("FOR_ITER", "GET_ANEXT"))


@dataclass(frozen=True)
class Entry:
    """The `def` of the entry function: line of the keyword, and of its first decorator."""

    name: str
    line: int
    first_line: int


@dataclass
class Statements:
    """Lines and positions of a program's statements."""

    multi: dict[int, int] = field(default_factory=dict)
    """Every line of a statement (or of a compound one's header) over several lines, mapped to the
    line to show for it: its first, or that of the `def` below decorators."""
    comprehensions: list[_Span] = field(default_factory=list)
    """Line, column, end line, end column (UTF-8 bytes) of list, set and dict comprehensions."""

    @classmethod
    def of(cls, tree: ast.Module) -> Statements:
        """Read the statements of a module."""
        found = cls()
        starts: dict[int, int] = {}
        headers = []
        for node in ast.walk(tree):
            if isinstance(node, (ast.stmt, ast.ExceptHandler)):
                headers.append(_header(node))
                starts[headers[-1][0]] = starts.get(headers[-1][0], 0) + 1
            elif isinstance(node, _COMPREHENSIONS):
                found.comprehensions.append(_span(node))
        for first, last, shown in headers:
            # A line that starts two statements may be a loop on one line: its steps differ.
            if last > first and starts[first] == 1:
                found.multi.update(dict.fromkeys(range(first, last + 1), shown))
        return found

    def shown(self, line: int) -> int:
        """Return the line by which the statement at a line is shown."""
        return self.multi.get(line, line)

    def repeats(self, code: CodeType) -> frozenset[int]:
        """Return the instruction offsets inside comprehensions that 3.12 and later inlined.

        Line events there would show each round of the comprehension; on 3.11 these happen in a
        frame of its own, which is not recorded.
        """
        if not self.comprehensions:
            return frozenset()
        offsets: set[int] = set()
        instructions = code.co_code
        entered: set[_Span] = set()
        for unit, position in enumerate(code.co_positions()):
            inside = [span for span in self.comprehensions if _within(position, span)]
            if not inside:
                continue
            if instructions[2 * unit] in _LOOP_HEADS:
                entered.update(inside)
            if not entered.isdisjoint(inside):
                offsets.add(2 * unit)
        return frozenset(offsets)

    def hidden(self, code: CodeType) -> frozenset[str]:
        """Return the variables of comprehensions that 3.12 and later inlined.

        On 3.11 these are in a frame of its own; here they show while an asynchronous comprehension
        is suspended.
        """
        clear = opcode.opmap.get("LOAD_FAST_AND_CLEAR")
        if clear is None or clear not in code.co_code[::2]:
            return frozenset()
        cleared: set[str] = set()
        stored = set(code.co_varnames[: _arguments(code)])
        for instruction in dis.get_instructions(code):
            if instruction.opcode == clear:
                cleared.add(instruction.argval)
            elif instruction.opname.startswith("STORE_FAST"):
                position = tuple(instruction.positions or (None,) * 4)
                if not any(_within(position, span) for span in self.comprehensions):
                    named = instruction.argval
                    stored.update(named if isinstance(named, tuple) else (named,))
        return frozenset(cleared - stored)


def _arguments(code: CodeType) -> int:
    stars = bool(code.co_flags & 0x4) + bool(code.co_flags & 0x8)  # CO_VARARGS, CO_VARKEYWORDS
    return code.co_argcount + code.co_kwonlyargcount + stars


def find_entry(tree: ast.Module, path: str) -> Entry | None:
    """Find the last `def` of the name or dotted path; None where the name is bound otherwise."""
    body: list[ast.stmt] = tree.body
    found: ast.stmt | None = None
    for name in path.split("."):
        matches = [node for node in _definitions(body) if node.name == name]
        if not matches:
            return None
        found = matches[-1]
        body = matches[-1].body
    if not isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    return Entry(found.name, found.lineno, _first_line(found))


def binding_line(tree: ast.Module, path: str) -> int | None:
    """Find the line that binds a top-level name otherwise: a class, an assignment, an import."""
    name = path.split(".")[0]
    for node in reversed(tree.body):
        names = {leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name) and _binds(leaf)}
        if isinstance(node, _DEFINITIONS):
            names = {node.name}
        if name in names:
            return node.lineno
    return None


def _binds(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _definitions(
    body: list[ast.stmt],
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield definitions of a scope, also below `if`, `try` and `with`."""
    for node in body:
        if isinstance(node, _DEFINITIONS):
            yield node
        else:
            for part in ("body", "handlers", "orelse", "finalbody"):
                inner = getattr(node, part, [])
                for child in inner if isinstance(inner, list) else []:
                    yield from _definitions(
                        child.body if isinstance(child, ast.ExceptHandler) else [child]
                    )


def _header(node: ast.stmt | ast.ExceptHandler) -> tuple[int, int, int]:
    """Return first line, last line and the line to show, of a statement without its body."""
    first = _first_line(node)
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if isinstance(body, list) and body:
        inner = body[0]
        pattern = getattr(inner, "pattern", None)  # of a `match_case`
        below = pattern.lineno if pattern is not None else _first_line(inner)
        return first, max(below - 1, node.lineno) if below > node.lineno else first, node.lineno
    return first, node.end_lineno or first, node.lineno


def _first_line(node: ast.AST) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(item.lineno for item in decorators)])  # type: ignore[attr-defined]


def _span(node: ast.expr) -> _Span:
    return node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0


def _within(position: tuple[int | None, ...], span: _Span) -> bool:
    line, end_line, column, end_column = position
    if line is None or end_line is None or column is None or end_column is None:
        return False
    return span[:2] <= (line, column) and (end_line, end_column) <= span[2:]
