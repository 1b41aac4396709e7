"""Values and argument lists as source text."""

import ast
import datetime
import decimal
import fractions
import math
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_tracer.inputs.text import canonical, is_harmless, parse_call, text_of

KEYS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.binary(max_size=8)),
    *(st.floats(allow_nan=False), st.dates(), st.fractions(), st.uuids(), st.timedeltas()),
    *(st.datetimes(), st.times(), st.decimals(allow_nan=False), st.complex_numbers()),
)
VALUES = st.recursive(
    KEYS,
    lambda inner: st.one_of(
        *(st.lists(inner, max_size=4), st.lists(inner, max_size=3).map(tuple)),
        *(st.dictionaries(KEYS, inner, max_size=3), st.frozensets(KEYS, max_size=3)),
        *(st.sets(KEYS, max_size=3), st.binary(max_size=4).map(bytearray), st.slices(5)),
    ),
    max_leaves=12,
)


@given(VALUES)
def test_text_evaluates_to_an_equal_value_of_the_same_type(value):
    again = eval(text_of(value))
    assert type(again) is type(value)
    assert again == value or math.isnan(value.real)


@given(st.lists(VALUES, max_size=3))
def test_argument_lists_survive_the_canonical_spelling(values):
    text = canonical(", ".join(map(text_of, values)))
    assert text is not None and canonical(text) == text
    got = eval(f"(lambda *a: list(a))({text})")
    assert list(map(text_of, got)) == list(map(text_of, values))


@given(VALUES)
def test_what_text_of_writes_is_harmless(value):
    assert is_harmless(ast.parse(text_of(value), mode="eval").body)


@pytest.mark.parametrize(
    "value",
    [
        *(float("nan"), float("-inf"), -0.0, complex(-0.0, 2), 10**5000, "\ud800", set()),
        *(frozenset(), (), (1,), ..., range(3), decimal.Decimal("NaN")),
        *(fractions.Fraction(1, 3), uuid.UUID(int=5), datetime.date(2020, 2, 29)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_odd_values(value):
    again = eval(text_of(value))
    assert type(again) is type(value)
    assert repr(again) == repr(value) if type(value) is not int else again == value


def test_sets_have_one_text():
    assert text_of({"b", "a", "c"}) == "{'a', 'b', 'c'}"


def test_what_has_no_text_is_told():
    cyclic = []
    cyclic.append(cyclic)
    for value in (object(), cyclic, datetime.datetime.now(datetime.UTC)):
        with pytest.raises(ValueError):
            text_of(value)


@pytest.mark.parametrize("text", ["1)(2", "1 +", "'a", "x=1, 2", "\0", "[" * 500, "1" * 30_000])
def test_what_is_no_argument_list_is_none(text):
    assert parse_call(text) is None


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("[1, {'a': (2,)}]", True),
        ("set([1]) | {2}", True),
        ("lambda x: x + 1", True),
        ("[i * i for i in range(3)]", True),
        ("Point(1, y=2)", True),
        ("Color.RED", True),
        ("float('inf')", True),
        ("open('f')", False),
        ("__import__('os').system('x')", False),
        ("__import__('decimal').getcontext().__class__", False),
        ("().__class__.__bases__", False),
        ("Point.__init__.__globals__", False),
        ("eval('1')", False),
        ("unknown", False),
        ("(lambda: 1)()", False),
        ("str.format('{0.__class__}', 1)", False),
        ("f'{open}'", False),
    ],
)
def test_only_values_are_harmless(text, harmless):
    node = ast.parse(text, mode="eval").body
    assert is_harmless(node, {"Point", "Color"}) is harmless
