"""Expressions over a recorded state, for watches and conditions; nothing of the program runs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from cwm_core.errors import CwmError

_FUNCTIONS = {
    each.__name__: each
    for each in (abs, all, any, bool, dict, float, int, len, list, max, min, round)
} | {each.__name__: each for each in (set, sorted, str, sum, tuple)}


_NUMBERS = re.compile(r"[\[\]\d\s,.e+-]+")
_MOST_HELD = 4096


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
            return _literal(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise EvaluationError(
                f"{name} is known as text only: {text[:80]}{'…' * (len(text) > 80)}",
                "what is left out, and objects, cannot be computed with",
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._state

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


class Expression:
    """Literals, operators, comprehensions and harmless functions over locals."""

    def __init__(self, text: str) -> None:
        """Raises `EvaluationError` where the text is no expression."""
        import simpleeval  # type: ignore[import-untyped]

        self._text = text.strip()
        try:
            self._node = ast.parse(self._text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            why = error.msg if isinstance(error, SyntaxError) else str(error)
            raise EvaluationError(f"{self._text!r} is no Python expression: {why}") from None
        self._names = tuple({n.id for n in ast.walk(self._node) if isinstance(n, ast.Name)})
        self._evaluator = simpleeval.EvalWithCompoundTypes(functions=_FUNCTIONS)
        self._held: dict[tuple[str | None, ...], bool] = {}

    def value(self, state: Mapping[str, str]) -> Any:
        """Evaluate over locals, whose texts are `state`; raises `EvaluationError`."""
        self._evaluator.names = _Names(state)
        try:
            return self._evaluator.eval(self._text, self._node)
        except EvaluationError:
            raise
        except Exception as error:
            raise EvaluationError(f"{self._text}: {type(error).__name__}: {error}") from None

    def holds(self, state: Mapping[str, str]) -> bool:
        """Whether it is true in a state; raises `EvaluationError`.

        What it was for the same texts is remembered: in a loop most conditions are about locals
        that seldom change, and reading a long list from its text takes milliseconds.
        """
        texts = tuple(map(state.get, self._names))
        known = self._held.get(texts)
        if known is None:
            known = bool(self.value(state))
            if len(self._held) >= _MOST_HELD:
                self._held.clear()
            self._held[texts] = known
        return known


def evaluate(expression: str, state: Mapping[str, str]) -> str:
    """Return the `repr` text of an expression over locals, whose texts are `state`.

    A name alone gives its text as it is. Raises `EvaluationError`.
    """
    word = expression.strip()
    return state[word] if word in state else repr(_compiled(word).value(state))


@lru_cache(maxsize=64)
def _compiled(text: str) -> Expression:
    return Expression(text)


def _literal(text: str) -> Any:
    """Read a value from its text; numbers and lists of them by the parser of JSON, the fastest."""
    if _NUMBERS.fullmatch(text):
        try:
            return json.loads(text)
        except ValueError:
            pass
    return ast.literal_eval(text)
