"""Inputs from how a function is used: its defaults, and calls of it with literal arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from cwm_tracer.inputs.callee import Anatomy, Callee, anatomy, is_static
from cwm_tracer.inputs.calls import calls_in_source, texts_of
from cwm_tracer.inputs.text import canonical


class Usage:
    """Calls in the program and in the texts that come with it; the bare call, if defaults allow."""

    def inputs(self, callee: Callee, known: Sequence[str], seed: int) -> Iterator[str]:
        """Yield the calls in the order of the texts, each once, whatever is `known`."""
        parts = anatomy(callee)
        texts = (*callee.usages, callee.source)
        found = [each for text in texts for each in calls_in(callee, text)]
        if not any(parameter.required for parameter in parts.parameters):
            found.append("")
        yield from dict.fromkeys(found)


def calls_in(callee: Callee, text: str) -> Iterator[str]:
    """Yield the argument lists that a Python text calls a function with."""
    parts = anatomy(callee)
    owner = parts.owner.name if parts.owner else ""
    names = (callee.name, *callee.aliases)
    for instance, call in calls_in_source(text, names, parts.defined, owner):
        for found in map(canonical, texts_of(_own_arguments(parts, instance, call))):
            if found is not None:
                yield found


def _own_arguments(parts: Anatomy, instance: ast.expr | None, call: ast.Call) -> Iterator[ast.Call]:
    """Yield the call as the entry takes it: a method's object goes in front where it is needed."""
    if parts.owner is None:
        yield call
        return
    is_class = isinstance(instance, ast.Name) and instance.id == parts.owner.name
    if is_static(parts.node, "staticmethod") or is_static(parts.node, "classmethod"):
        if is_class:
            yield call
    elif isinstance(instance, ast.Call) and _makes(instance, parts.owner.name):
        if parts.takes_instance:
            yield ast.Call(call.func, [instance, *call.args], call.keywords)
        elif not instance.args and not instance.keywords:
            yield call


def _makes(instance: ast.Call, name: str) -> bool:
    return isinstance(instance.func, ast.Name) and instance.func.id == name
