"""What in a patch's source reaches for tests, their runner or the interpreter's innards.

The sandbox and the runner keep most cheating from working; what runs inside the same interpreter as
the tests can still try. A name that the repository's file did not use before and a repair hardly
needs is reason enough to refuse the patch.
"""

from __future__ import annotations

import ast
import re
from collections import Counter

MODULES = frozenset({"pytest", "_pytest", "pluggy", "unittest", "ctypes", "gc", "_cwm"})
"""Modules whose first import in a file is suspicious."""
NAMES = frozenset(
    {
        "_getframe",
        "currentframe",
        "_exit",
        "settrace",
        "setprofile",
        "get_referrers",
        "get_objects",
        "addaudithook",
        "__cwm_probe__",
        "f_locals",
        "f_back",
    }
)
"""Attributes and names, likewise."""
_STRINGS = re.compile(
    r"\b(_pytest|pytest|conftest|sitecustomize|PYTEST_\w+|site-packages|git (show|log|reflog))\b"
)


def suspicions(before: str, after: str) -> list[str]:
    """Return what a changed Python file newly reaches for; empty for one that does not parse."""
    old, new = _reached(before), _reached(after)
    return sorted(what for what, count in new.items() if count and not old.get(what))


def _reached(source: str) -> Counter[str]:
    found: Counter[str] = Counter()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found
    docstrings = set(_docstrings(tree))
    for node in ast.walk(tree):
        found.update(_of_node(node, docstrings))
    return found


def _of_node(node: ast.AST, docstrings: set[int]) -> list[str]:
    if isinstance(node, ast.Import):
        return [f"import {a.name}" for a in node.names if _top(a.name) in MODULES]
    if isinstance(node, ast.ImportFrom):
        return [f"import {node.module}"] if _top(node.module or "") in MODULES else []
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        return [node.attr]
    if isinstance(node, ast.Name) and node.id in NAMES:
        return [node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        match = None if id(node) in docstrings else _STRINGS.search(node.value)
        return [f"the text {match[0]!r}"] if match else []
    return []


def _docstrings(tree: ast.AST) -> list[int]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.body and isinstance(node.body[0], ast.Expr)
    ]


def _top(module: str) -> str:
    return module.partition(".")[0]
