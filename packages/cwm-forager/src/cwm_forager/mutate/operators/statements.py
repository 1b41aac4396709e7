"""Operators on statements and blocks."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import libcst as cst

from cwm_forager.mutate.operators.tree import Change, definition, is_docstring, nodes


def empty_function(module: cst.Module, random: Random) -> Iterator[Change]:
    """The body becomes ``pass``; the docstring stays."""
    function = definition(module)
    if isinstance(function, cst.FunctionDef) and isinstance(function.body, cst.IndentedBlock):
        kept = [statement for statement in function.body.body[:1] if is_docstring(statement)]
        rest = cst.SimpleStatementLine([cst.Pass()])
        yield function.body, function.body.with_changes(body=[*kept, rest])


def delete_function(module: cst.Module, random: Random) -> Iterator[Change]:
    """The whole function goes."""
    function = definition(module)
    if isinstance(function, cst.FunctionDef):
        yield function, None


def delete_statements(module: cst.Module, random: Random) -> Iterator[Change]:
    """One to three statements in a row go."""
    for block in nodes(module, cst.IndentedBlock):
        start = 1 if is_docstring(block.body[0]) else 0
        for first in range(start, len(block.body)):
            last = first + random.randint(1, 3)
            if len(block.body[:first]) + len(block.body[last:]) > start or first > start:
                yield block, block.with_changes(body=[*block.body[:first], *block.body[last:]])


def swap_statements(module: cst.Module, random: Random) -> Iterator[Change]:
    """Two neighbouring statements change places."""
    for block in nodes(module, cst.IndentedBlock):
        start = 1 if is_docstring(block.body[0]) else 0
        for first in range(start, len(block.body) - 1):
            body = list(block.body)
            body[first], body[first + 1] = body[first + 1], body[first]
            yield block, block.with_changes(body=body)


def delete_assignment(module: cst.Module, random: Random) -> Iterator[Change]:
    """An assignment goes."""
    for line in nodes(module, cst.SimpleStatementLine):
        kinds = (cst.Assign, cst.AugAssign, cst.AnnAssign)
        if len(line.body) == 1 and isinstance(line.body[0], kinds):
            yield line, cst.SimpleStatementLine([cst.Pass()])


def delete_return(module: cst.Module, random: Random) -> Iterator[Change]:
    """``return a`` becomes ``a``; a bare ``return`` becomes ``pass``."""
    for node in nodes(module, cst.Return):
        yield node, cst.Pass() if node.value is None else cst.Expr(_on_its_own(node.value))


def _on_its_own(value: cst.BaseExpression) -> cst.BaseExpression:
    """A value after ``return`` may be a bare tuple or start with a star."""
    if isinstance(value, cst.Tuple) and not value.lpar:
        return value.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    return value


def remove_loop(module: cst.Module, random: Random) -> Iterator[Change]:
    """A loop goes, or becomes an ``if`` on its first element: its body runs once at most."""
    for loop in nodes(module, cst.For, cst.While):
        if isinstance(loop, cst.While):
            if not any(True for _ in nodes(loop.body, cst.Break, cst.Continue)):
                yield loop, cst.If(loop.test, loop.body, leading_lines=loop.leading_lines)
        elif isinstance(loop, cst.For):
            yield loop, _pass(loop.leading_lines)


def remove_conditional(module: cst.Module, random: Random) -> Iterator[Change]:
    """An ``if`` goes, or its body runs always."""
    for branch in nodes(module, cst.If):
        if isinstance(branch.orelse, cst.If):
            yield branch, branch.orelse.with_changes(leading_lines=branch.leading_lines)
        elif branch.orelse is None:
            yield branch.test, cst.Name("True", lpar=branch.test.lpar, rpar=branch.test.rpar)
            yield branch, branch.with_changes(test=cst.Name("False"))
        else:
            yield branch, branch.with_changes(orelse=None)


def swap_branches(module: cst.Module, random: Random) -> Iterator[Change]:
    """The bodies of ``if`` and ``else`` change places."""
    for branch in nodes(module, cst.If):
        if isinstance(branch.orelse, cst.Else):
            orelse = branch.orelse.with_changes(body=branch.body)
            yield branch, branch.with_changes(body=branch.orelse.body, orelse=orelse)


def remove_wrapper(module: cst.Module, random: Random) -> Iterator[Change]:
    """The body of ``try`` or ``with`` stands alone, or a decorator goes."""
    for node in nodes(module, cst.Try, cst.With):
        assert isinstance(node, (cst.Try, cst.With))
        yield node, cst.If(cst.Name("True"), node.body, leading_lines=node.leading_lines)
    function = definition(module)
    for decorator in function.decorators if isinstance(function, cst.FunctionDef) else ():
        yield decorator, None


def change_jump(module: cst.Module, random: Random) -> Iterator[Change]:
    """``break`` becomes ``continue`` and the other way round; ``raise`` becomes ``pass``."""
    for node in nodes(module, cst.Break, cst.Continue, cst.Raise):
        if isinstance(node, cst.Raise):
            yield node, cst.Pass()
        else:
            yield node, cst.Continue() if isinstance(node, cst.Break) else cst.Break()


def _pass(leading_lines: object) -> cst.SimpleStatementLine:
    return cst.SimpleStatementLine([cst.Pass()], leading_lines=leading_lines)  # type: ignore[arg-type]
