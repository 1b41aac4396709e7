"""Assertions about a function: those that a question shows, and whether one is plain enough to run.

A model's assertions, and those that were read from prose, are evaluated where tests are judged. So
they may only call the function, a few builtins, and methods of values.
"""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Iterator

_NAMES = (
    "abs all any bin bool bytes chr complex dict divmod enumerate float frozenset hex int "
    "isinstance len list map max min oct ord range repr reversed round set sorted str sum tuple "
    "type zip math"
)
_BUILTINS = frozenset(_NAMES.split())
_VALUE = re.compile(
    r"^\s*(?:#\s*)?(?:==>|=>|==|->|➞|→|=|should\s+return\b|returns\b)\s*(?P<value>.+?)\s*$"
)
_WORDS = {"true": "True", "false": "False"}
_MOST_EXPONENT = 1000


def is_plain(assertion: str, entry: str) -> bool:
    """Whether a text is one assertion that calls `entry` and reaches for nothing else."""
    body = _parsed(assertion)
    if body is None or len(body) != 1 or not isinstance(body[0], ast.Assert):
        return False
    nodes = list(ast.walk(body[0]))
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    if bound & (_BUILTINS | {entry}):
        return False
    calls = [n.func for n in nodes if isinstance(n, ast.Call)]
    asks = any(isinstance(func, ast.Name) and func.id == entry for func in calls)
    return asks and all(_is_plain(node, {*_BUILTINS, *bound, entry}) for node in nodes)


def _is_plain(node: ast.AST, known: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.Attribute):
        return not node.attr.startswith("_") and node.attr not in ("format", "format_map")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        exponent = node.right
        if isinstance(exponent, ast.UnaryOp):
            exponent = exponent.operand
        return isinstance(exponent, ast.Constant) and _small(exponent.value)
    return not isinstance(node, ast.Await | ast.Yield | ast.YieldFrom)


def _small(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= _MOST_EXPONENT


def examples(prompt: str, entry: str) -> list[str]:
    """Return the examples of a docstring as assertions, each once, in order.

    Read are doctests, and lines such as ``f(1) == 2``, ``f(1) => 2`` and ``f(1) returns 2``, where
    the value is a literal.
    """
    text = _docstring(prompt, entry)
    found = dict.fromkeys([*_doctests(text), *_prose(text, entry)])
    return [each for each in found if is_plain(each, entry)]


def asked(assertion: str) -> str:
    """Return the function that an assertion is about; empty where it calls none of its own."""
    for statement in _parsed(assertion) or ():
        for node in ast.walk(statement):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id not in _BUILTINS:
                return called.id
    return ""


def as_call(assertion: str, entry: str) -> tuple[str, str] | None:
    """Return arguments and expected literal of ``assert entry(...) == literal``, else None."""
    body = _parsed(assertion)
    if body is None or len(body) != 1 or not isinstance(body[0], ast.Assert):
        return None
    test = body[0].test
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1):
        return None
    call, value = test.left, ast.unparse(test.comparators[0])
    if not (isinstance(test.ops[0], ast.Eq | ast.Is) and isinstance(call, ast.Call)):
        return None
    if not (isinstance(call.func, ast.Name) and call.func.id == entry) or not _is_literal(value):
        return None
    given = [ast.unparse(each) for each in (*call.args, *call.keywords)]
    return ", ".join(given), value


def _docstring(prompt: str, entry: str) -> str:
    for node in _parsed(prompt) or ():
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            return ast.get_docstring(node) or ""
    return prompt


def _doctests(text: str) -> Iterator[str]:
    try:
        found = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return
    for example in found:
        source, want = example.source.strip(), example.want.strip()
        if "\n" not in source and _is_literal(want):
            yield _equal(source, want)


def _prose(text: str, entry: str) -> Iterator[str]:
    for line in text.splitlines():
        for match in re.finditer(rf"(?<![\w.]){re.escape(entry)}\(", line):
            call, rest = _call(line[match.start() :])
            if call and (value := _value(rest)) is not None:
                yield _equal(call, value)
                break


def _call(text: str) -> tuple[str, str]:
    """Split a text after the call that it begins with; empty where there is none."""
    for at, char in enumerate(text):
        if char == ")" and _parsed(text[: at + 1]) is not None:
            return text[: at + 1], text[at + 1 :]
    return "", ""


def _value(rest: str) -> str | None:
    match = _VALUE.match(rest)
    if match is None:
        return None
    given = match["value"]
    for value in (given, given.rstrip("."), given.rpartition("=")[2].strip()):
        value = _WORDS.get(value, value)
        if value and _is_literal(value):
            return value
    return None


def _equal(call: str, value: str) -> str:
    """Write an assertion; one with a comment of its own stays on its line."""
    wanted = ast.unparse(ast.parse(value.strip(), mode="eval"))
    body = _parsed(call)
    if body is None or len(body) != 1 or not isinstance(body[0], ast.Expr):
        return ""
    return f"assert {ast.unparse(body[0])} == {wanted}"


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _parsed(text: str) -> list[ast.stmt] | None:
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
