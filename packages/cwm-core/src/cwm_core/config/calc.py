"""Arithmetic in YAML: ``${calc:"int(0.7 * ${minutes} * 60)"}``, evaluated on the syntax tree.

Only numbers, texts, comparisons, ``and/or/not``, ``a if b else c`` and a few functions exist:
a recipe from somewhere else cannot run code through it.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf

from cwm_core.errors import ConfigError

_MAX_EXPONENT = 64
_MAX_LENGTH = 1000
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "float": float,
    "floor": math.floor,
    "int": int,
    "max": max,
    "min": min,
    "round": round,
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def calc(expression: str) -> Any:
    """Evaluate an arithmetic expression; ConfigError for anything else."""
    text = str(expression)
    try:
        if len(text) > _MAX_LENGTH:
            raise ValueError("expression is too long")
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise ConfigError(
            f"cannot calculate '{text}': {error}",
            "numbers, + - * / // % **, comparisons, and/or/not, if/else and "
            + ", ".join(_FUNCTIONS),
        ) from error


def register_calc() -> None:
    """Make ``${calc:...}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("calc", calc, replace=True)


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as constant):
            return constant
        case ast.UnaryOp(op=op, operand=operand):
            return _operator(op)(_number(operand))
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(op, _number(left), _number(right))
        case ast.BoolOp(op=op, values=values):
            return _boolean(op, values)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(each) for each in (left, *others)]
            pairs = zip(ops, values, values[1:], strict=False)
            return all(_operator(op)(first, second) for op, first, second in pairs)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body) if _value(test) else _value(orelse)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*[_value(each) for each in arguments])
    raise ValueError(f"'{ast.unparse(node)}' is not allowed")


def _number(node: ast.AST) -> Any:
    value = _value(node)
    if not isinstance(value, (int, float)):
        raise ValueError(f"'{value}' is no number")
    return value


def _binary(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(op, ast.Pow) and abs(right) > _MAX_EXPONENT:
        raise ValueError(f"exponents beyond {_MAX_EXPONENT} are not allowed")
    return _operator(op)(left, right)


def _boolean(op: ast.boolop, values: list[ast.expr]) -> Any:
    result: Any = None
    for node in values:
        result = _value(node)
        if bool(result) is isinstance(op, ast.Or):
            break
    return result


def _operator(op: ast.AST) -> Callable[..., Any]:
    if type(op) not in _OPERATORS:
        raise ValueError(f"operator {type(op).__name__} is not allowed")
    return _OPERATORS[type(op)]
