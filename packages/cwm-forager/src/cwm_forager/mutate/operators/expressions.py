"""Operators on arithmetic, comparisons, constants and conditions."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import libcst as cst

from cwm_forager.mutate.operators.tree import Change, nodes, parenthesized, walk

_ARITHMETIC = (cst.Add, cst.Subtract, cst.Multiply, cst.FloorDivide, cst.Modulo)
_BITS = (cst.BitAnd, cst.BitOr, cst.BitXor)
_SHIFTS = (cst.LeftShift, cst.RightShift)
_ASSIGNING = (
    cst.AddAssign,
    cst.SubtractAssign,
    cst.MultiplyAssign,
    cst.FloorDivideAssign,
    cst.ModuloAssign,
)
_COMPARISONS: dict[type[cst.BaseCompOp], tuple[type[cst.BaseCompOp], ...]] = {
    cst.LessThan: (cst.LessThanEqual, cst.GreaterThan, cst.GreaterThanEqual),
    cst.LessThanEqual: (cst.LessThan, cst.GreaterThan, cst.GreaterThanEqual),
    cst.GreaterThan: (cst.GreaterThanEqual, cst.LessThan, cst.LessThanEqual),
    cst.GreaterThanEqual: (cst.GreaterThan, cst.LessThan, cst.LessThanEqual),
    cst.Equal: (cst.NotEqual,),
    cst.NotEqual: (cst.Equal,),
    cst.Is: (cst.IsNot,),
    cst.IsNot: (cst.Is,),
    cst.In: (cst.NotIn,),
    cst.NotIn: (cst.In,),
}


def replace_operator(module: cst.Module, random: Random) -> Iterator[Change]:
    """``a + b`` becomes ``a - b``; ``and`` becomes ``or``."""
    for node in walk(module):
        if isinstance(node, (cst.BinaryOperation, cst.AugAssign)):
            for group in (_ARITHMETIC, _BITS, _SHIFTS, _ASSIGNING):
                if isinstance(node.operator, group):
                    others = [kind for kind in group if kind is not type(node.operator)]
                    yield node, node.with_changes(operator=random.choice(others)())
        elif isinstance(node, cst.BooleanOperation):
            other = cst.Or if isinstance(node.operator, cst.And) else cst.And
            kept = {
                name: getattr(node.operator, name)
                for name in ("whitespace_before", "whitespace_after")
            }
            yield node, node.with_changes(operator=other(**kept))


def swap_operands(module: cst.Module, random: Random) -> Iterator[Change]:
    """``a - b`` becomes ``b - a``; ``a < b`` becomes ``b < a``."""
    for node in walk(module):
        if isinstance(node, cst.BinaryOperation) and not node.left.deep_equals(node.right):
            left, right = parenthesized(node.left), parenthesized(node.right)
            yield node, node.with_changes(left=right, right=left)
        elif isinstance(node, cst.Comparison) and len(node.comparisons) == 1:
            (only,) = node.comparisons
            swapped = only.with_changes(comparator=parenthesized(node.left))
            yield (
                node,
                node.with_changes(left=parenthesized(only.comparator), comparisons=[swapped]),
            )


def replace_comparison(module: cst.Module, random: Random) -> Iterator[Change]:
    """``<`` becomes ``<=``, ``==`` becomes ``!=``, ``in`` becomes ``not in``."""
    for target in nodes(module, cst.ComparisonTarget):
        for other in _COMPARISONS.get(type(target.operator), ()):
            yield target, target.with_changes(operator=other())


def change_constant(module: cst.Module, random: Random) -> Iterator[Change]:
    """Numbers, booleans, None and strings become others of their kind."""
    for node in walk(module):
        if isinstance(node, cst.Integer):
            values = [value for value in (0, 1, 2, 10) if value != node.evaluated_value]
            yield node, node.with_changes(value=str(random.choice(values)))
        elif isinstance(node, cst.Float):
            yield node, node.with_changes(value=repr(node.evaluated_value * 2 + 1.0))
        elif isinstance(node, cst.Name) and node.value in _OTHER:
            yield node, node.with_changes(value=_OTHER[node.value])
        elif isinstance(node, cst.Name) and node.value == "None":
            yield node, cst.Integer("0", lpar=node.lpar, rpar=node.rpar)
        elif isinstance(node, cst.SimpleString):
            empty = node.raw_value == ""
            content = "XX" if empty else ""
            yield node, node.with_changes(value=f"{node.prefix}{node.quote}{content}{node.quote}")


_OTHER = {"True": "False", "False": "True"}


def off_by_one(module: cst.Module, random: Random) -> Iterator[Change]:
    """An index, a bound of a slice or of ``range``, or a compared number moves by one."""
    for node in walk(module):
        for value in _bounds(node):
            sign = random.choice((1, -1))
            yield value, _shifted(value, sign)


def _bounds(node: cst.CSTNode) -> Iterator[cst.BaseExpression]:
    if isinstance(node, cst.Slice):
        yield from (bound for bound in (node.lower, node.upper) if bound is not None)
    elif isinstance(node, cst.Index) and not isinstance(node.value, cst.SimpleString):
        yield node.value
    elif isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
        if node.func.value in ("range", "islice", "repeat"):
            yield from (arg.value for arg in node.args if not arg.star)
    elif isinstance(node, cst.ComparisonTarget):
        order = (cst.LessThan, cst.LessThanEqual, cst.GreaterThan, cst.GreaterThanEqual)
        if isinstance(node.operator, order):
            yield node.comparator


def _shifted(value: cst.BaseExpression, sign: int) -> cst.BaseExpression:
    if isinstance(value, cst.Integer) and value.evaluated_value + sign >= 0:
        return value.with_changes(value=str(value.evaluated_value + sign))
    operator = cst.Add() if sign > 0 else cst.Subtract()
    return cst.BinaryOperation(parenthesized(value), operator, cst.Integer("1"))


def invert_condition(module: cst.Module, random: Random) -> Iterator[Change]:
    """``if a`` becomes ``if not a``; so do ``while``, ``a if b else c`` and comprehensions."""
    for node in nodes(module, cst.If, cst.While, cst.IfExp, cst.CompIf, cst.Assert):
        assert isinstance(node, (cst.If, cst.While, cst.IfExp, cst.CompIf, cst.Assert))
        yield node.test, _negated(node.test)


def _negated(test: cst.BaseExpression) -> cst.BaseExpression:
    if isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not):
        inner = test.expression
        return parenthesized(inner) if test.lpar else inner
    space = cst.SimpleWhitespace(" ")
    negation = cst.UnaryOperation(cst.Not(whitespace_after=space), parenthesized(test))
    if test.lpar:  # `if(a)` has no space of its own
        return negation.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return negation
