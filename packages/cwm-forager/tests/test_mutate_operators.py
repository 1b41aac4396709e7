"""Operators: each does what its name says, byte for byte elsewhere."""

from __future__ import annotations

import ast
import inspect
import json.decoder
import textwrap
from itertools import islice
from random import Random
from typing import ClassVar

import pytest

from cwm_core.plugins import registry
from cwm_core.testing.mutators import MutatorConformance
from cwm_forager.mutate.names import OPERATORS as NAMES
from cwm_forager.mutate.operators.table import OPERATORS

EXAMPLES = {
    "drop_argument": ("def f(a, b):\n    return g(a, b)\n", "def f(a, b):\n    return g(a)\n"),
    "reorder_arguments": ("def f(a, b):\n    g(a,  b)\n", "def f(a, b):\n    g(b,  a)\n"),
    "alter_argument": ("def f(a):\n    g(a)\n", "def f(a):\n    g(None)\n"),
    "swap_variables": ("def f(a, b):\n    return a\n", "def f(a, b):\n    return b\n"),
    "break_chain": ("def f(s):\n    return s.a().b()\n", "def f(s):\n    return s.a()\n"),
    "remove_call": ("def f(s):\n    return sorted(s)\n", "def f(s):\n    return s\n"),
    "replace_operator": ("def f(a, b):\n    return a | b\n", "def f(a, b):\n    return a ^ b\n"),
    "swap_operands": ("def f(a, b):\n    return a - b\n", "def f(a, b):\n    return b - a\n"),
    "replace_comparison": (
        "def f(a, b):\n    return a in b\n",
        "def f(a, b):\n    return a not in b\n",
    ),
    "change_constant": ("def f():\n    return True\n", "def f():\n    return False\n"),
    "off_by_one": ("def f(a):\n    return a[0]\n", "def f(a):\n    return a[1]\n"),
    "invert_condition": (
        "def f(a):\n    if a:  # why\n        g()\n",
        "def f(a):\n    if not a:  # why\n        g()\n",
    ),
    "empty_function": (
        'def f(a):\n    """Doc."""\n    return a\n',
        'def f(a):\n    """Doc."""\n    pass\n',
    ),
    "delete_function": ("def f(a):\n    return a\n", ""),
    "delete_statements": ("def f(a):\n    g()\n    h()\n", "def f(a):\n    g()\n"),
    "swap_statements": ("def f(a):\n    g()\n    h()\n", "def f(a):\n    h()\n    g()\n"),
    "delete_assignment": ("def f(a):\n    a += 1\n    h(a)\n", "def f(a):\n    pass\n    h(a)\n"),
    "delete_return": ("def f(a):\n    return a, 1\n", "def f(a):\n    (a, 1)\n"),
    "remove_loop": (
        "def f(a):\n    while a:\n        g()\n",
        "def f(a):\n    if a:\n        g()\n",
    ),
    "remove_conditional": (
        "def f(a):\n    if a:\n        g()\n",
        "def f(a):\n    if True:\n        g()\n",
    ),
    "swap_branches": (
        "def f(a):\n    if a:\n        g()\n    else:\n        h()\n",
        "def f(a):\n    if a:\n        h()\n    else:\n        g()\n",
    ),
    "remove_wrapper": (
        "def f(a):\n    with a:\n        g()\n",
        "def f(a):\n    if True:\n        g()\n",
    ),
    "change_jump": (
        "def f(a):\n    for x in a:\n        break\n",
        "def f(a):\n    for x in a:\n        continue\n",
    ),
    "delete_import": ("from a import b, c\n", "from a import b\n"),
    "remove_base": ("class A(B):\n    x = 1\n", "class A:\n    x = 1\n"),
    "remove_method": (
        "class A:\n    x = 1\n\n    def m(self):\n        pass\n",
        "class A:\n    x = 1\n",
    ),
    "remove_attribute": ("class A:\n    x = 1\n    y = 2\n", "class A:\n    y = 2\n"),
    "change_default": ("def f(a=1):\n    return a\n", "def f(a=2):\n    return a\n"),
}


def rewrites(name: str, source: str, seeds: int = 6) -> set[str]:
    return {
        rewrite
        for seed in range(seeds)
        for rewrite in OPERATORS[name].mutations(source, Random(seed))
    }


def test_every_operator_has_a_line_and_an_example() -> None:
    assert set(NAMES) == set(OPERATORS) == set(EXAMPLES)
    assert len(NAMES) >= 14
    assert set(NAMES) <= set(registry().components("mutators"))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples(name: str) -> None:
    source, wanted = EXAMPLES[name]
    assert wanted in rewrites(name, source)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_rewrites_of_real_code_parse(name: str) -> None:
    """Also where parentheses, comments, decorators and odd spaces are around."""
    module = json.decoder
    text = inspect.getsource(module)
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    kinds = {"function": ast.FunctionDef, "class": ast.ClassDef, "import": ast.ImportFrom}
    found = [n for n in ast.walk(tree) if isinstance(n, kinds[OPERATORS[name].scope])]
    for node in found:
        source = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))
        for rewrite in islice(OPERATORS[name].mutations(source, Random(1)), 10):
            ast.parse(rewrite)


def test_annotations_docstrings_and_definitions_stay() -> None:
    source = 'def f(a: "x", b: int = 1) -> "y":\n    "z"\n    return a\n'
    assert (
        not rewrites("change_constant", source)
        - {source.replace("= 1", "= 0")}
        - {source.replace("= 1", f"= {n}") for n in (2, 10)}
    )
    assert all("def f(" in rewrite for rewrite in rewrites("swap_variables", source))


class TestConformance(MutatorConformance):
    component = "drop_argument"
    sources = (EXAMPLES["drop_argument"][0],)


class TestImportConformance(MutatorConformance):
    component = "delete_import"
    sources: ClassVar[tuple[str, ...]] = ("import os\n", "from os import path, sep\n")


class TestClassConformance(MutatorConformance):
    component = "remove_base"
    sources = ("class A(B, C):\n    pass\n",)
