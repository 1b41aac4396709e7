"""Where a line's statement is in a source, and which names it reads and stores."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any

from cwm_tracer.collect.repository.runtime.rebuild import UnknownError

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Owner:
    """A class around a statement, and the method."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.function: Any = None


class Method(ast.NodeTransformer):
    """Spells out what depends on the class around a method: private names, ``super()``."""

    def __init__(self, owner: str, first: str) -> None:
        self._owner = owner.lstrip("_")
        self._first = first

    def _mangled(self, name: str) -> str:
        private = name.startswith("__") and not name.endswith("__") and "." not in name
        return f"_{self._owner}{name}" if private and self._owner else name

    def visit_Attribute(self, node: Any) -> Any:
        """Mangle a private attribute."""
        node.attr = self._mangled(node.attr)
        return self.generic_visit(node)

    def visit_Name(self, node: Any) -> Any:
        """Mangle a private name; look `__class__` up."""
        node.id = "__cwm_class__" if node.id == "__class__" else self._mangled(node.id)
        return node

    def visit_Call(self, node: Any) -> Any:
        """Give `super()` its arguments."""
        node = self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            names = ("__cwm_class__", self._first)
            node.args = [ast.Name(name, ast.Load()) for name in names]
        return node


def statement_at(context: str, line: int) -> tuple[Any, list[Owner]]:
    """Return the statement that a line shows, and the classes around it."""
    try:
        tree = ast.parse(context)
    except SyntaxError:
        raise UnknownError("context that does not parse") from None
    found = [pair for pair in _statements(tree, []) if _shown_line(pair[0]) == line]
    if len(found) != 1:
        raise UnknownError("several statements on a line" if found else "no statement on the line")
    return found[0]


def _statements(node: ast.AST, owners: list[Owner]) -> Iterator[tuple[Any, list[Owner]]]:
    for child in ast.iter_child_nodes(node):
        inner = owners
        if isinstance(child, ast.ClassDef):
            inner = [*owners, Owner(child.name)]
        elif isinstance(node, ast.ClassDef) and isinstance(child, _FUNCTIONS):
            owners[-1].function = child
        if isinstance(child, (ast.stmt, ast.ExceptHandler)):
            yield child, _copied(owners)
        yield from _statements(child, inner)


def _copied(owners: list[Owner]) -> list[Owner]:
    return [copy.copy(owner) for owner in owners]


def handler_of(context: str, statement: Any) -> Any:
    """Return the innermost ``except`` clause around a statement."""
    clauses = [node for node in ast.walk(ast.parse(context)) if isinstance(node, ast.ExceptHandler)]
    lines = range(statement.lineno, statement.end_lineno + 1)
    around = [
        clause
        for clause in clauses
        if clause.lineno < lines[0] and lines[-1] <= (clause.end_lineno or 0)
    ]
    return max(around, key=lambda clause: clause.lineno, default=None)


def _shown_line(node: Any) -> int:
    return int(node.lineno)


def first_line(node: Any) -> int:
    """Return the line where a statement begins, decorators included."""
    return min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])


def own(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what is evaluated by the code itself, not by functions that it makes."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPES):
            yield from own(child)


def names_read(node: ast.AST) -> set[str]:
    """Return the names that code reads, functions inside it included."""
    names: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
        if isinstance(inner, ast.AugAssign) and isinstance(inner.target, ast.Name):
            names.add(inner.target.id)
    return names


def names_stored(node: ast.AST) -> set[str]:
    """Return the names that code binds or deletes in its own scope."""
    names: set[str] = set()
    for inner in own(node):
        if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
            names.add(inner.id)
        if isinstance(inner, ast.alias):
            names.add(inner.asname or inner.name.partition(".")[0])
    comprehensions = [node_ for node_ in own(node) if isinstance(node_, ast.comprehension)]
    hidden = {
        name.id
        for part in comprehensions
        for name in ast.walk(part.target)
        if isinstance(name, ast.Name)
    }
    return {name for name in names - hidden if not name.startswith("__cwm") and name != "__value__"}
