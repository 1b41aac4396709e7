"""Values and argument lists as source text."""

from __future__ import annotations

import ast
import builtins
import cmath
import datetime
import decimal
import fractions
import math
import uuid
from collections.abc import Callable, Collection
from typing import Any

from cwm_tracer.programs.extract import argument_text

MAX_CHARACTERS = 20_000
"""Longest argument list that is worth running."""

_PLAIN = (type(None), bool, str, bytes, bytearray, range, slice, type(Ellipsis))
_OTHERS = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
)
_MAKERS = frozenset(
    (
        *("bool", "bytearray", "bytes", "chr", "complex", "dict", "enumerate", "filter", "float"),
        *("frozenset", "int", "iter", "len", "list", "map", "max", "min", "ord", "range", "repr"),
        *("reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip", "object"),
    )
)
"""Built-in functions that only make values."""
_MODULES = frozenset(("array", "collections", "datetime", "decimal", "fractions", "math", "uuid"))
"""Modules whose classes `__import__` may fetch inside an argument list."""
_HARMLESS = (
    *(ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.BoolOp),
    *(ast.Compare, ast.IfExp, ast.Subscript, ast.Slice, ast.Starred, ast.keyword, ast.ListComp),
    *(ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Lambda, ast.arguments),
    *(ast.arg, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.JoinedStr),
    ast.FormattedValue,
)


def text_of(value: Any) -> str:
    """Return an expression that evaluates to an equal value, wherever built-ins are not shadowed.

    Sets and dicts need not be in any order: sets come out sorted by their items' text.

    Raises:
        ValueError: the value's type has no such expression, or it contains itself.
    """
    try:
        return _text(value)
    except RecursionError:
        raise ValueError("the value is nested too deeply or contains itself") from None


def _text(value: Any) -> str:
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if kind is int:
        return repr(value) if abs(value) < 10**4000 else hex(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f"float('{value}')"
    if kind is complex:
        return _complex(value)
    if kind in _COLLECTIONS:
        return _COLLECTIONS[kind](value)
    if kind in _OTHERS:
        return f"__import__({kind.__module__!r}).{_unqualified(value)}"
    raise ValueError(f"a {kind.__name__} has no source text")


def _complex(value: complex) -> str:
    parts = value.real, value.imag
    signed_zero = any(part == 0 and math.copysign(1, part) < 0 for part in parts)
    if cmath.isfinite(value) and not signed_zero:
        return repr(value)
    return f"complex({_text(value.real)}, {_text(value.imag)})"


def _unqualified(value: Any) -> str:
    text = repr(value).replace("datetime.", "")
    if "tzinfo=" in text:
        raise ValueError("a time with a zone has no source text")
    return text


def _tuple(value: tuple[Any, ...]) -> str:
    return f"({_text(value[0])},)" if len(value) == 1 else f"({', '.join(map(_text, value))})"


def _set(value: set[Any] | frozenset[Any]) -> str:
    return f"{{{', '.join(sorted(map(_text, value)))}}}" if value else "set()"


def _dict(value: dict[Any, Any]) -> str:
    return f"{{{', '.join(f'{_text(key)}: {_text(item)}' for key, item in value.items())}}}"


_COLLECTIONS: dict[type, Callable[[Any], str]] = {
    list: lambda value: f"[{', '.join(map(_text, value))}]",
    tuple: _tuple,
    set: _set,
    frozenset: lambda value: f"frozenset({_set(value) if value else ''})",
    dict: _dict,
}


def parse_call(text: str) -> ast.Call | None:
    """Return an argument list as the call of a function; None if it is none."""
    if len(text) > MAX_CHARACTERS:
        return None
    try:
        node = ast.parse(f"f({text}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    whole = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "f"
    return node if whole and isinstance(node, ast.Call) else None


def canonical(text: str) -> str | None:
    """Return an argument list in the spelling of `ast.unparse`; None if it is none."""
    call = parse_call(text)
    if call is None:
        return None
    try:
        return argument_text(call)
    except (ValueError, RecursionError):
        return None


def is_harmless(node: ast.AST, names: Collection[str] = ()) -> bool:
    """Whether an expression only makes values: of literals, built-in classes, and `names`.

    `names` are those that the program defines. Attributes other than those of `names`, and calls
    of anything else, are refused: what a stranger proposes cannot reach files or processes.
    """
    bound = {child.arg for child in ast.walk(node) if isinstance(child, ast.arg)}
    bound |= {
        child.id
        for child in ast.walk(node)
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)
    }
    return _harmless(node, {*names, *_MAKERS, *bound})


def _harmless(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names
    if _is_class_of_module(node):
        return True
    if isinstance(node, ast.Attribute):
        return not node.attr.startswith("_") and _is_known(node.value, names)
    if not isinstance(node, (*_HARMLESS, ast.Call)):
        return False
    if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name | ast.Attribute):
        return False
    return all(_harmless(child, names) for child in ast.iter_child_nodes(node))


def _is_known(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names and not hasattr(builtins, node.id)


def _is_class_of_module(node: ast.AST) -> bool:
    """Match ``__import__('decimal').Decimal``, as `text_of` writes it."""
    return (
        isinstance(node, ast.Attribute)
        and not node.attr.startswith("_")
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "__import__"
        and len(node.value.args) == 1
        and isinstance(node.value.args[0], ast.Constant)
        and node.value.args[0].value in _MODULES
    )
