"""How tests compare a solution's answers with what is expected; runs on the trusted side."""

from __future__ import annotations

import math
from typing import Any


def check_cases(candidate: Any, cases: list[list[Any]], compare: Any = None) -> None:
    """Call the candidate on each ``[arguments, expected]``; AssertionError if one differs."""
    same = compare or (lambda answer, expected: answer == expected)
    for number, (arguments, expected) in enumerate(cases):
        assert same(candidate(*arguments), expected), f"case {number} is wrong"


def check_like(
    candidate: Any, reference: Any, inputs: list[list[Any]], atol: float = 0.0, compare: Any = None
) -> None:
    """Call candidate and reference on the same inputs, as EvalPlus does; each has its own copy."""
    import copy

    for number, arguments in enumerate(inputs):
        expected = reference(*copy.deepcopy(arguments))
        answer = candidate(*copy.deepcopy(arguments))
        same = compare(arguments, answer, expected) if compare else close(answer, expected, atol)
        assert same, f"input {number} is wrong"


def close(answer: Any, expected: Any, atol: float = 0.0) -> bool:
    """Compare values, floats within `atol` (or 1e-7 relative) where the expected one has floats.

    The rule of EvalPlus: without floats, plain equality; with them, the same type and shape.
    """
    if atol == 0 and _is_floats(expected):
        atol = 1e-6
    if answer == expected:
        return True
    if atol == 0:
        return False
    return type(answer) is type(expected) and _close(answer, expected, atol)


def _is_floats(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, float) for item in value)
    return isinstance(value, float)


def _close(answer: Any, expected: Any, atol: float) -> bool:
    if isinstance(expected, float) and isinstance(answer, int | float):
        return math.isclose(answer, expected, rel_tol=1e-7, abs_tol=atol) or (
            math.isnan(answer) and math.isnan(expected)
        )
    if isinstance(expected, list | tuple) and type(answer) is type(expected):
        return len(answer) == len(expected) and all(
            _close(left, right, atol) for left, right in zip(answer, expected)
        )
    return bool(answer == expected)


def listed(answer: Any, expected: Any) -> bool:
    """Compare as LiveCodeBench does: tuples count as lists."""
    return bool(_as_lists(answer) == _as_lists(expected))


def _as_lists(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_lists(item) for item in value]
    return value


ORACLES: dict[str, Any] = {
    "check_cases": check_cases,
    "check_like": check_like,
    "close": close,
    "listed": listed,
}
"""Names that every test may use."""
