"""Inputs from docstrings: doctests, and examples in prose."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator, Sequence

from cwm_tracer.inputs.callee import Anatomy, Callee, anatomy
from cwm_tracer.inputs.calls import calls_in_text
from cwm_tracer.inputs.text import canonical, is_harmless, parse_call
from cwm_tracer.inputs.usage import calls_in

_INPUT = re.compile(r"(?im)^[\s>*-]*(?:sample |example )?inputs?\s*\d*\s*[:=]\s*(\S.*)$")


class Doctests:
    """Doctest examples, calls in the prose of docstrings, and lines such as ``Input: n = 3``."""

    def inputs(self, callee: Callee, known: Sequence[str], seed: int) -> Iterator[str]:
        """Yield the examples, doctests first, each once, whatever is `known`."""
        parts = anatomy(callee)
        texts = [parts.docstring, ast.get_docstring(parts.tree) or ""]
        found = [text for each in texts for text in self._of(callee, parts, each)]
        yield from dict.fromkeys(found)

    def _of(self, callee: Callee, parts: Anatomy, docstring: str) -> Iterator[str]:
        examples = examples_of(docstring)
        if examples:
            yield from calls_in(callee, examples)
        if parts.owner is None or not parts.takes_instance:
            for text in (*calls_in_text(docstring, (callee.name,)), *_inputs(parts, docstring)):
                call = parse_call(text)
                if call is not None and _is_usable(call, parts):
                    yield text


def examples_of(docstring: str) -> str:
    """Return the code of a docstring's doctests as one text, without what does not parse."""
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:
        return ""
    return "".join(example.source for example in examples if _parses(example.source))


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def _is_usable(call: ast.Call, parts: Anatomy) -> bool:
    """Whether the arguments only make values and fit the parameters; prose rarely does."""
    words = {parameter.name for parameter in parts.parameters}
    open_ended = any(parameter.kind == "kwargs" for parameter in parts.parameters)
    fits = open_ended or all(word.arg in words for word in call.keywords)
    given = len(call.args) + len(call.keywords)
    return (
        fits
        and given >= _required(parts)
        and is_harmless(
            ast.Tuple([*call.args, *(word.value for word in call.keywords)], ast.Load()),
            parts.defined,
        )
    )


def _required(parts: Anatomy) -> int:
    return sum(parameter.required for parameter in parts.parameters)


def _inputs(parts: Anatomy, docstring: str) -> Iterator[str]:
    """Yield what follows ``Input:``, as named arguments or as positional ones."""
    for match in _INPUT.finditer(docstring):
        text = canonical(match[1].strip().rstrip(".;"))
        if text:
            yield text
