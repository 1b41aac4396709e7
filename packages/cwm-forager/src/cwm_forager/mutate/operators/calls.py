"""Operators on calls, names and attribute chains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from random import Random

import libcst as cst

from cwm_forager.mutate.operators.tree import Change, local_names, nodes, walk


def drop_argument(module: cst.Module, random: Random) -> Iterator[Change]:
    """``f(a, b)`` becomes ``f(a)``."""
    for call in nodes(module, cst.Call):
        for index in range(len(call.args)):
            yield call, _with_args(call, [*call.args[:index], *call.args[index + 1 :]])


def reorder_arguments(module: cst.Module, random: Random) -> Iterator[Change]:
    """``f(a, b)`` becomes ``f(b, a)``."""
    for call in nodes(module, cst.Call):
        plain = [i for i, arg in enumerate(call.args) if not arg.star and arg.keyword is None]
        for first, second in combinations(plain, 2):
            args = list(call.args)
            if args[first].value.deep_equals(args[second].value):
                continue
            values = args[first].value, args[second].value
            args[first] = args[first].with_changes(value=values[1])
            args[second] = args[second].with_changes(value=values[0])
            yield call, call.with_changes(args=args)


def alter_argument(module: cst.Module, random: Random) -> Iterator[Change]:
    """An argument becomes another name of the function, or None."""
    names = local_names(module)
    for call in nodes(module, cst.Call):
        for index, arg in enumerate(call.args):
            if arg.star:
                continue
            old = arg.value.value if isinstance(arg.value, cst.Name) else None
            choices = [name for name in [*names, "None"] if name != old]
            value = cst.Name(random.choice(choices))
            args = list(call.args)
            args[index] = arg.with_changes(value=value)
            yield call, call.with_changes(args=args)


def swap_variables(module: cst.Module, random: Random) -> Iterator[Change]:
    """A use of one local variable becomes a use of another."""
    names = local_names(module)
    for name in _uses(module):
        others = [other for other in names if other != name.value]
        if name.value in names and others:
            yield name, name.with_changes(value=random.choice(others))


def break_chain(module: cst.Module, random: Random) -> Iterator[Change]:
    """``a.b().c()`` becomes ``a.b()``, ``a.b.c`` becomes ``a.b``."""
    for node in walk(module):
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
            yield node, _outer_parentheses(node, node.func.value)
        elif isinstance(node, cst.Attribute) and isinstance(node.value, cst.Attribute):
            yield node, _outer_parentheses(node, node.value)


def remove_call(module: cst.Module, random: Random) -> Iterator[Change]:
    """``sorted(x)`` becomes ``x``."""
    for call in nodes(module, cst.Call):
        if isinstance(call.func, cst.Name) and call.args and not call.args[0].star:
            yield call, _outer_parentheses(call, call.args[0].value)


def _outer_parentheses(outer: cst.BaseExpression, inner: cst.BaseExpression) -> cst.BaseExpression:
    """Let `inner` stand in the place of `outer`, which may need parentheses."""
    if inner.lpar or isinstance(inner, (cst.Name, cst.Call, cst.Attribute, cst.Subscript)):
        if not outer.lpar:
            return inner
        return inner.with_changes(lpar=outer.lpar, rpar=outer.rpar)
    return inner.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def _with_args(call: cst.Call, args: Sequence[cst.Arg]) -> cst.Call:
    if args:
        args = [*args[:-1], args[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]
    return call.with_changes(args=args)


def _uses(node: cst.CSTNode) -> Iterator[cst.Name]:
    """Yield names that are read: no targets, attributes, keywords, parameters or definitions."""
    for child in node.children:
        if isinstance(node, (cst.Assign, cst.AnnAssign, cst.AugAssign, cst.For, cst.CompFor)):
            target = child is getattr(node, "target", None) or isinstance(child, cst.AssignTarget)
            if target:
                continue
        if isinstance(node, cst.Attribute) and child is node.attr:
            continue
        if isinstance(node, cst.Arg) and child is node.keyword:
            continue
        if isinstance(child, (cst.Annotation, cst.Decorator, cst.Parameters, cst.NameItem)):
            continue
        if isinstance(node, (cst.FunctionDef, cst.ClassDef)) and child is node.name:
            continue
        if isinstance(child, (cst.Import, cst.ImportFrom, cst.AsName)):
            continue
        if isinstance(child, cst.Name):
            yield child
        else:
            yield from _uses(child)
