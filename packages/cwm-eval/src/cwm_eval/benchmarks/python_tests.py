"""Published tests in Python, turned into `Tests` whose calls cross the trust boundary."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Sequence

from cwm_core.errors import DataError


def open_names(source: str, reference: str = "") -> tuple[str, ...]:
    """Return the names that a test takes from the solution, sorted.

    These are the names that it reads and neither binds nor imports. Builtins and modules of the
    standard library come from its own interpreter, unless `reference`, a solution, defines them.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise DataError(f"a test is no valid Python: {error}", "correct the data") from None
    read: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    usual = {*dir(builtins), *sys.stdlib_module_names} - set(defined_names(reference))
    return tuple(sorted(read - bound - usual))


def standard_imports(source: str) -> str:
    """Return import lines for the standard modules that a test reads without importing them."""
    tree = ast.parse(source)
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return "".join(f"import {name}\n" for name in sorted(read & sys.stdlib_module_names))


def defined_names(source: str) -> tuple[str, ...]:
    """Return the functions and classes that a solution defines at its top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    return tuple(node.name for node in body if isinstance(node, kinds))


def joined(*parts: str | Sequence[str]) -> str:
    """Return pieces of source as one text with Unix line ends, each on lines of its own."""
    lines = [part if isinstance(part, str) else "\n".join(part) for part in parts]
    text = "\n".join(each for each in lines if each.strip())
    return text.replace("\r\n", "\n").replace("\r", "\n") + "\n"
