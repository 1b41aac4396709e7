"""The definitions of a file that can be rewritten, as text at column 0."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from cwm_forager.mutate.base import Scope

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.Try,
    ast.With,
    ast.BoolOp,
    ast.IfExp,
    ast.comprehension,
    ast.ExceptHandler,
    ast.Return,
    ast.Yield,
)


@dataclass(frozen=True, slots=True)
class Target:
    """One function, class or import of a file."""

    path: str
    """Relative to the repository."""
    scope: Scope
    name: str
    """Qualified name within the file; of an import, its line."""
    first: int
    """First line, decorators included; counted from 1."""
    last: int
    indent: str
    source: str
    """Its text, moved to column 0."""
    complexity: int
    """Branches, loops, conditions and exits, plus one."""


def is_test_file(path: str) -> bool:
    """Whether a file belongs to the tests, documentation or packaging: not to be broken."""
    pure = PurePosixPath(path)
    apart = {"test", "tests", "testing", "docs", "doc", "examples", "benchmarks"}
    names = {"conftest.py", "setup.py", "noxfile.py"}
    return (
        bool(apart.intersection(pure.parts[:-1]))
        or pure.name in names
        or pure.name.startswith("test_")
        or pure.name.endswith("_test.py")
    )


def targets(path: str, text: str) -> list[Target]:
    """Return what can be rewritten in a file; nothing where it cannot be parsed.

    Left out are definitions that cannot be moved to column 0 and back without changing them, such
    as a method with a string whose lines begin further to the left.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    lines = text.splitlines(keepends=True)
    found = []
    for node, name in _definitions(tree, ""):
        scope: Scope = "class" if isinstance(node, ast.ClassDef) else "function"
        found.append(_target(path, scope, name, node, lines))
    for statement in tree.body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            name = f"line {statement.lineno}"
            found.append(_target(path, "import", name, statement, lines))
    return [target for target in found if target is not None]


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[Definition, str]]:
    """Yield classes, functions and methods; functions inside of functions belong to those."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{prefix}{child.name}"
            yield child, name
            if isinstance(child, ast.ClassDef):
                yield from _definitions(child, f"{name}.")
        elif isinstance(child, (ast.If, ast.Try)):
            yield from _definitions(child, prefix)


def _target(path: str, scope: Scope, name: str, node: ast.stmt, lines: list[str]) -> Target | None:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    last = node.end_lineno or node.lineno
    text = "".join(lines[first - 1 : last])
    indent = text[: len(text) - len(text.lstrip(" \t"))]
    source = moved_out(text, indent)
    if source is None or not _stands_alone(source):
        return None
    branches = sum(isinstance(inner, _BRANCHES) for inner in ast.walk(node))
    return Target(path, scope, name, first, last, indent, source, 1 + branches)


def moved_out(text: str, indent: str) -> str | None:
    """Move text to column 0; None where it cannot be moved back."""
    if not text.endswith("\n"):
        text += "\n"
    lines = text.splitlines(keepends=True)
    if not all(line.startswith(indent) or not line.strip() for line in lines):
        return None
    source = "".join(line.removeprefix(indent) if line.strip() else line for line in lines)
    return source if moved_in(source, indent) == text else None


def moved_in(source: str, indent: str) -> str:
    """Indent every line that is not blank."""
    return textwrap.indent(source, indent)


def _stands_alone(source: str) -> bool:
    try:
        return len(ast.parse(source).body) == 1
    except (SyntaxError, ValueError):
        return False


def replaced(text: str, target: Target, source: str) -> str:
    """Return a file's text with another source for a target; one without a body gets a pass."""
    lines = text.splitlines(keepends=True)
    middle = moved_in(source, target.indent)
    if not source.strip() and target.indent:
        middle = f"{target.indent}pass\n"
    return "".join(lines[: target.first - 1]) + middle + "".join(lines[target.last :])
