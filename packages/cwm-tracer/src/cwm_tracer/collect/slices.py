"""A function with all of its module that it needs, and nothing else."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass

_ALWAYS_THERE = frozenset(
    (*dir(builtins), "__name__", "__file__", "__doc__", "__class__", "__package__")
)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Slice:
    """Part of a module that can stand alone."""

    source: str
    tree: ast.Module
    """The tree of `source`."""
    undefined: frozenset[str]
    """Names that it uses and that neither it nor Python defines."""


class Module:
    """A module of which slices are cut."""

    def __init__(self, source: str, name: str = "") -> None:
        """Read a module; `name` is its dotted name, by which relative imports become absolute.

        Raises SyntaxError, ValueError or RecursionError for what does not parse.
        """
        self.source = source
        self.tree = ast.parse(source)
        self._lines = source.split("\n")
        self._name = name
        self._binds = [_bound_by(node) for node in self.tree.body]
        self._needs = [_needed_by(node) for node in self.tree.body]

    def slice(self, name: str) -> Slice:
        """Return the definition of a top-level name with everything that it needs."""
        chosen = self._closure(name)
        pieces: list[str] = []
        for index in sorted(chosen):
            node = self.tree.body[index]
            pieces.append(f"\n\n{self._text(node)}\n" if _is_definition(node) else self._text(node))
        source = "\n".join(pieces).strip("\n") + "\n"
        tree = ast.parse(source)
        bound = {each for index in chosen for each in self._binds[index]}
        needs = {each for index in chosen for each in self._needs[index]}
        return Slice(source, tree, frozenset(needs - bound - _ALWAYS_THERE))

    def _closure(self, name: str) -> set[int]:
        chosen: set[int] = set()
        wanted = {name}
        while True:
            more = {
                index
                for index, node in enumerate(self.tree.body)
                if index not in chosen and (self._binds[index] & wanted or _is_future(node))
            }
            if not more:
                return chosen
            chosen |= more
            wanted |= {each for index in more for each in self._needs[index]}

    def _text(self, node: ast.stmt) -> str:
        if isinstance(node, ast.ImportFrom) and node.level and self._name:
            package = self._name.split(".")[: -node.level]
            module = ".".join([*package, *([node.module] if node.module else [])])
            return ast.unparse(ast.ImportFrom(module or None, node.names, 0))
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(each.lineno for each in decorators)])
        last = node.end_lineno or node.lineno
        if _shares_lines(self.tree, node):
            return ast.unparse(node)
        return "\n".join(self._lines[first - 1 : last])


def _is_definition(node: ast.stmt) -> bool:
    return isinstance(node, _DEFINITIONS)


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _shares_lines(tree: ast.Module, node: ast.stmt) -> bool:
    """Whether another statement stands on the same line, after a semicolon."""
    return any(
        other is not node
        and other.lineno <= (node.end_lineno or 0)
        and node.lineno <= (other.end_lineno or 0)
        for other in tree.body
    )


def _bound_by(node: ast.stmt) -> frozenset[str]:
    """Return the names of the module that a statement binds, or changes the value of."""
    if isinstance(node, _DEFINITIONS):
        return frozenset((node.name,))
    found: set[str] = set()
    for child in _own(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            found.add(child.id)
        elif isinstance(child, ast.Import | ast.ImportFrom):
            found |= {(each.asname or each.name).split(".")[0] for each in child.names}
        elif isinstance(child, (*_DEFINITIONS, ast.ExceptHandler)) and child.name:
            found.add(child.name)
    if not found and not _is_main(node):
        found |= _changed_by(node)
    return frozenset(found)


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a statement and what is inside, but not what is inside functions and classes."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        if not isinstance(current, _SCOPES):
            stack += ast.iter_child_nodes(current)


def _is_main(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def _changed_by(node: ast.stmt) -> set[str]:
    """Return what ``TABLE['x'] = 1``, ``NAMES.append(2)`` and ``N += 1`` change."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        targets = [node.value.func]
    found = set()
    for target in targets:
        while isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
            if isinstance(target, ast.Name):
                found.add(target.id)
    return found


def _needed_by(node: ast.stmt) -> frozenset[str]:
    """Return the names that a statement, or a function in it, takes from its module."""
    return frozenset(_free(node))


def _free(node: ast.AST) -> set[str]:
    """Return the names that are read and not bound by the functions around."""
    found: set[str] = set()
    local: set[str] = set()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        outer = [*node.args.defaults, *(each for each in node.args.kw_defaults if each)]
        outer += getattr(node, "decorator_list", [])
        outer += [each for each in _annotations(node) if each is not None]
        for each in outer:
            found |= _free(each)
        body: list[ast.AST] = list(node.body) if isinstance(node.body, list) else [node.body]
        local = {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
        local |= {name for child in body for name in _stored(child)} - _declared_global(body)
        return found | {name for child in body for name in _free(child)} - local
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        local = {name for each in node.generators for name in _stored(each.target)}
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        found.add(node.id)
    if isinstance(node, ast.Global):
        found |= set(node.names)
    for child in ast.iter_child_nodes(node):
        found |= _free(child)
    if isinstance(node, ast.ClassDef):
        # What a class body binds is read there only; methods see the module's names.
        bound = {name for child in node.body for name in _stored(child)} - {node.name}
        methods = {
            name for child in node.body if isinstance(child, _SCOPES) for name in _free(child)
        }
        found = (found - bound) | methods
    return found - local


def _annotations(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
) -> list[ast.expr | None]:
    texts = [each.annotation for each in ast.walk(node.args) if isinstance(each, ast.arg)]
    return [*texts, getattr(node, "returns", None)]


def _stored(node: ast.AST) -> set[str]:
    return (
        set(_bound_by(node))
        if isinstance(node, _DEFINITIONS)
        else {name for child in _own(node) for name in _stored_here(child)}
    )


def _stored_here(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(each.asname or each.name).split(".")[0] for each in node.names}
    if isinstance(node, _DEFINITIONS):
        return {node.name}
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        return {node.name}
    if isinstance(node, ast.MatchMapping) and node.rest:
        return {node.rest}
    return set()


def _declared_global(body: list[ast.AST]) -> set[str]:
    return {
        name
        for child in body
        for node in _own(child)
        if isinstance(node, ast.Global)
        for name in node.names
    }
