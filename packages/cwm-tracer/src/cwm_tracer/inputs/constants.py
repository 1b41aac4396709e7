"""Values that a program's source mentions: what its branches compare with."""

from __future__ import annotations

import ast
import functools

_MOST = 200


@functools.lru_cache(maxsize=8)
def constants_of(source: str) -> dict[type, tuple[object, ...]]:
    """Return the constants of a source by type, without docstrings; empty if it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found: dict[type, dict[object, None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in prose and _is_small(node.value):
            found.setdefault(type(node.value), {})[node.value] = None
    return {kind: tuple(values)[:_MOST] for kind, values in found.items()}


def _is_small(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 10**9
    return isinstance(value, float) or (isinstance(value, str | bytes) and 0 < len(value) <= 64)
