"""Tags of the constructs that a source uses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_tracer.programs import Program, constructs_of
from cwm_tracer.programs.constructs import TAGS
from cwm_tracer.programs.generator import generate

CASES = {
    "for x in y: pass": "for",
    "while x: break": "break",
    "x = [i for i in y]": "comprehension",
    "x = sum(i for i in y)": "comprehension",
    "x = a[1:]": "slice",
    "x = {1: 2}": "dict",
    "x = {1, 2}": "set",
    "x = set()": "set",
    "x = (1, 2)": "tuple",
    "x = 'a'": "str",
    "x = f'{a}'": "format",
    "x = 1.5": "float",
    "x += 1": "augmented",
    "a, b = c": "unpacking",
    "for a, b in c: pass": "unpacking",
    "a, *b = c": "unpacking",
    "f = lambda: 0": "lambda",
    "class A: pass": "class",
    "class A(B): pass": "inheritance",
    "raise ValueError": "exception",
    "try:\n    pass\nexcept KeyError:\n    pass": "try",
    "def f():\n    yield 1": "generator",
    "def f():\n    def g(): pass": "nested_function",
    "def f():\n    return f()": "recursion",
    "class A:\n    def f(self):\n        return self.f()": "recursion",
    "def f():\n    x = 1\n    def g():\n        nonlocal x": "closure",
    "def f(): pass\ndef g(): pass": "helper",
    "for a in b:\n    for c in a: pass": "nested_loop",
    "for a in b: pass\nelse: pass": "for_else",
    "x = 1 < y < 3": "chained_comparison",
    "x = 1 if y else 2": "if_expression",
    "x = a and b": "logic",
    "x.append(1)": "method_call",
    "len(x)": "function_call",
    "def f(x=1): pass": "default_argument",
    "def f(*x): pass": "star_args",
    "import os": "import",
    "assert x": "assert",
    "with x: pass": "with",
    "if (y := x): pass": "walrus",
    "global x": "global",
    "@a\ndef f(): pass": "decorator",
    "x = b'a'": "bytes",
    "if x: pass": "if",
    "while x: continue": "continue",
    "x = [1]": "list",
    "while x: pass": "while",
    "raise E": "exception",
}


@pytest.mark.parametrize("source", CASES)
def test_tag(source: str) -> None:
    assert CASES[source] in constructs_of(source)


def test_every_tag_has_a_case() -> None:
    assert set(CASES.values()) == set(TAGS)


def test_absent_constructs_have_no_tag() -> None:
    assert constructs_of("def f(n):\n    return n\n") == ()
    assert "recursion" not in constructs_of("def f(): pass\ndef g(): f()")
    assert "nested_loop" not in constructs_of("for a in b: pass\nfor c in d: pass")
    assert "nested_function" not in constructs_of("class A:\n    def f(self): pass")


@given(st.integers(0, 10**9), st.integers(1, 5))
@settings(max_examples=60)
def test_generated_tags_are_sorted_and_known(seed: int, level: int) -> None:
    tags = generate(seed, level).constructs
    assert list(tags) == sorted(set(tags)) and set(tags) <= set(TAGS)


def test_syntax_error() -> None:
    with pytest.raises(SyntaxError):
        constructs_of("def")
    assert Program.of("def", "f", ["1"]).constructs == ()


def test_id_ignores_line_ends_and_trailing_blanks() -> None:
    one = Program.of("def f(x):\r\n    return x  \r\n\r\n", "f", ["1"])
    two = Program.of("def f(x):\n    return x", "f", ["2"])
    assert one.id == two.id and one.source == two.source and len(one.id) == 16
    assert Program.of("def f(x):\n    return -x", "f", []).id != one.id
