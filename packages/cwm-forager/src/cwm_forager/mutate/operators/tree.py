"""Syntax-tree mutators: one node replaced or removed, everything else byte for byte the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import libcst as cst

from cwm_forager.mutate.base import Scope

Change = tuple[cst.CSTNode, cst.CSTNode | None]
"""A node, and what takes its place; None removes it."""
Propose = Callable[[cst.Module, Random], Iterator[Change]]
Node = TypeVar("Node", bound=cst.CSTNode)


@dataclass(frozen=True, slots=True)
class TreeMutator:
    """A `Mutator` whose rewrites are the changes that `propose` finds, in random order."""

    scope: Scope
    propose: Propose

    def mutations(self, source: str, random: Random) -> Iterator[str]:
        """Yield rewrites with one change each."""
        module = cst.parse_module(source)
        changes = list(self.propose(module, random))
        random.shuffle(changes)
        for old, new in changes:
            changed = module.deep_remove(old) if new is None else module.deep_replace(old, new)
            if isinstance(changed, cst.Module):
                yield changed.code if changed.body else ""


def walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield a node and everything in it that runs: neither annotations nor docstrings."""
    yield node
    for child in node.children:
        if not isinstance(child, cst.Annotation) and not is_docstring(child):
            yield from walk(child)


def nodes(module: cst.CSTNode, *kinds: type[Node]) -> Iterator[Node]:
    """Yield the nodes of some classes."""
    for node in walk(module):
        if isinstance(node, kinds):
            yield node


def is_docstring(node: cst.CSTNode) -> bool:
    """Whether a statement is nothing but a string."""
    if isinstance(node, cst.SimpleStatementLine) and len(node.body) == 1:
        node = node.body[0]
    strings = (cst.SimpleString, cst.ConcatenatedString)
    return isinstance(node, cst.Expr) and isinstance(node.value, strings)


def definition(module: cst.Module) -> cst.FunctionDef | cst.ClassDef | None:
    """Return the definition that the source consists of."""
    last = module.body[-1] if module.body else None
    return last if isinstance(last, (cst.FunctionDef, cst.ClassDef)) else None


def parenthesized(node: cst.BaseExpression) -> cst.BaseExpression:
    """Return an expression in parentheses, if it has none and could need them."""
    simple = (cst.Name, cst.Call, cst.Attribute, cst.Subscript, cst.Integer, cst.SimpleString)
    if node.lpar or isinstance(node, simple):
        return node
    return node.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])


def local_names(module: cst.Module) -> list[str]:
    """Return the names that the code binds: parameters and targets of assignments, sorted."""
    found = {param.name.value for param in nodes(module, cst.Param)}
    for node in walk(module):
        if isinstance(node, (cst.AssignTarget, cst.For, cst.CompFor)):
            found.update(name.value for name in nodes(node.target, cst.Name))
    return sorted(found)
