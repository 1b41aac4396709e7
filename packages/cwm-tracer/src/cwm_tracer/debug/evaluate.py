"""Expressions over a recorded state, for watches and conditions; nothing of the program runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from cwm_core.errors import CwmError

_FUNCTIONS = {
    each.__name__: each
    for each in (abs, all, any, bool, dict, float, int, len, list, max, min, round)
} | {each.__name__: each for each in (set, sorted, str, sum, tuple)}


class EvaluationError(CwmError):
    """An expression cannot be evaluated from what is recorded."""


class _Names(Mapping[str, Any]):
    """Locals as Python values, made on demand: those whose text is a literal."""

    def __init__(self, state: Mapping[str, str]) -> None:
        self._state = state

    def __getitem__(self, name: str) -> Any:
        if name not in self._state:
            raise EvaluationError(
                f"no local {name!r} here", f"there are: {', '.join(self._state) or 'none'}"
            )
        text = self._state[name]
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise EvaluationError(
                f"{name} is {text[:80]}, which is known as text only", "compare str values instead"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._state

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


def evaluate(expression: str, state: Mapping[str, str]) -> str:
    """Return the `repr` text of an expression over locals, whose texts are `state`.

    A name alone gives its text as it is. Raises `EvaluationError`.
    """
    word = expression.strip()
    return state[word] if word in state else repr(value_of(word, state))


def holds(condition: str, state: Mapping[str, str]) -> bool:
    """Whether a condition is true in a state; raises `EvaluationError`."""
    return bool(value_of(condition, state))


def value_of(expression: str, state: Mapping[str, str]) -> Any:
    """Evaluate an expression with literals, operators, comprehensions and harmless functions."""
    import simpleeval  # type: ignore[import-untyped]

    evaluator = simpleeval.EvalWithCompoundTypes(names=_Names(state), functions=_FUNCTIONS)
    try:
        return evaluator.eval(expression)
    except EvaluationError:
        raise
    except SyntaxError as error:
        raise EvaluationError(f"{expression!r} is no Python expression: {error.msg}") from None
    except Exception as error:
        raise EvaluationError(f"{expression}: {type(error).__name__}: {error}") from None


def children(text: str) -> list[tuple[str, str]]:
    """Return the parts of a value's text as (name, text): items, entries, fields of an object."""
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    parts: list[tuple[str, ast.expr]] = []
    if isinstance(node, ast.List | ast.Tuple):
        parts = [(f"[{number}]", each) for number, each in enumerate(node.elts)]
    elif isinstance(node, ast.Set):
        parts = [("", each) for each in node.elts]
    elif isinstance(node, ast.Dict):
        parts = [(f"[{ast.unparse(k)}]", v) for k, v in zip(node.keys, node.values) if k]
    elif isinstance(node, ast.Call):
        parts = [(f"[{number}]", each) for number, each in enumerate(node.args)]
        parts += [(each.arg, each.value) for each in node.keywords if each.arg]
    return [(name, ast.unparse(each)) for name, each in parts]
