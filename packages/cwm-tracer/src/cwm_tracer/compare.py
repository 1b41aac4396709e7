"""When two results are the same."""

from __future__ import annotations

import ast
import math
from itertools import zip_longest
from typing import Any


def same_value(left: str, right: str) -> bool:
    """Compare two `repr` texts as Python literals of the same types where both are; else as texts.

    The order of sets and dicts does not matter.
    """
    left, right = left.strip(), right.strip()
    if left == right:
        return True
    try:
        values = ast.literal_eval(left), ast.literal_eval(right)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False
    return bool(_typed(values[0]) == _typed(values[1]))


def same_output(expected: str, printed: str, float_tolerance: float | None = None) -> bool:
    """Compare outputs as contests do: word by word, whatever the whitespace between.

    With a tolerance, words that are numbers are equal within that error, absolute or relative.
    """
    pairs = zip_longest(expected.split(), printed.split())
    return all(left == right or _close(left, right, float_tolerance) for left, right in pairs)


def _typed(value: Any) -> Any:
    """Tell apart what compares equal across types, such as 1, 1.0 and True."""
    if isinstance(value, list | tuple):
        return type(value), [_typed(item) for item in value]
    if isinstance(value, dict):
        return {(type(key), key): _typed(item) for key, item in value.items()}
    if isinstance(value, set):
        return {(type(item), item) for item in value}
    return type(value), value


def _close(left: str | None, right: str | None, tolerance: float | None) -> bool:
    if tolerance is None or left is None or right is None:
        return False
    try:
        return math.isclose(float(left), float(right), rel_tol=tolerance, abs_tol=tolerance)
    except ValueError:
        return False
