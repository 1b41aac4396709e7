"""What the debugger makes of recorded texts: the parts of values, and expressions over them."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_tracer.debug.breakpoints import Breakpoint
from cwm_tracer.debug.dap.variables import MOST_PARTS, MOST_SHOWN, References
from cwm_tracer.debug.evaluate import EvaluationError, Expression, evaluate
from cwm_tracer.debug.unfold import LEFT_OUT, children, unfolds

atoms = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
atoms |= st.complex_numbers()
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.text()), inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=12,
)


@given(values)
def test_the_parts_of_a_value_are_its_items(value):
    if isinstance(value, list | tuple):
        expected = [(f"[{at}]", repr(each)) for at, each in enumerate(value)]
    elif isinstance(value, dict):
        expected = [(f"[{key!r}]", repr(each)) for key, each in value.items()]
    else:
        expected = []
    assert children(repr(value)) == expected
    assert unfolds(repr(value)) == bool(expected)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{1, 'a, b'}", [("", "1"), ("", "'a, b'")]),
        ("Point(x=1, y=Point(x=2))", [("x", "1"), ("y", "Point(x=2)")]),
        ("Counter({'a': 2})", [("[0]", "{'a': 2}")]),
        ("deque([1, 2], maxlen=3)", [("[0]", "[1, 2]"), ("maxlen", "3")]),
        ("[1, <+3 more>]", [("[0]", "1"), (LEFT_OUT, "<+3 more>")]),
        ("{'a': 'x'<+9 more>, <+3 more>}", [("['a']", "'x'<+9 more>"), (LEFT_OUT, "<+3 more>")]),
        ("(<lock object #2>, <E.A: 1>)", [("[0]", "<lock object #2>"), ("[1]", "<E.A: 1>")]),
        ("defaultdict(<class 'int'>, {1: 2})", [("[0]", "<class 'int'>"), ("[1]", "{1: 2}")]),
        ("[...]", [("[0]", "...")]),
        ("(1, 2) + (3)", []),
        ("[1, 2", []),
        ("Odd(don't, [)", []),
        ("set()", []),
        ("7", []),
        ("", []),
    ],
)
def test_parts_are_cut_where_brackets_and_commas_say(text, parts):
    assert children(text) == parts


@given(st.text(alphabet="'\"\\()[]{}<>,:=+. ax1", max_size=30))
def test_any_text_has_parts_or_none(text):
    for _, part in children(text):
        assert part in text


def test_long_values_are_shown_in_groups_and_cut():
    references = References()
    shown = references.variable("k", repr(list(range(2 * MOST_PARTS + 5))))
    assert len(shown["value"]) == MOST_SHOWN + 1 or len(shown["value"]) < MOST_SHOWN
    groups = references.listed(shown["variablesReference"])
    assert [each["name"] for each in groups] == ["[0 to 999]", "[1000 to 1999]", "[2000 to 2004]"]
    last = references.listed(groups[2]["variablesReference"])
    assert (last[0]["name"], last[0]["value"]) == ("[2000]", "2000")
    assert references.variable("s", repr("x" * 20_000))["value"].endswith("x…")
    references.clear()
    assert references.listed(shown["variablesReference"]) is None


def test_expressions_see_values_and_run_nothing():
    state = {"a": "[1, 2, 3]", "p": "Point(x=1)", "s": "'it'"}
    assert evaluate("a", state) == "[1, 2, 3]"
    assert evaluate("sum(x * 2 for x in a) + len(s)", state) == "14"
    assert evaluate("p", state) == "Point(x=1)"
    for bad in (
        "p.x",
        "__import__('os')",
        "a.__class__",
        "a[",
        "zz",
        "1 / 0",
        "open('x')",
        "a = 1",
    ):
        with pytest.raises(EvaluationError):
            evaluate(bad, state)


@given(
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.lists(st.integers()) | st.floats(allow_nan=False, allow_infinity=False))
)
def test_numbers_are_read_as_python_writes_them(value):
    read = Expression("k").value({"k": repr(value)})
    assert repr(read) == repr(ast.literal_eval(repr(value))) == repr(value)


@given(st.text(alphabet="0123456789[],.e+- ", max_size=8))
def test_a_text_of_digits_is_what_python_reads_or_known_as_text_only(text):
    try:
        expected = repr(ast.literal_eval(text))
    except (ValueError, SyntaxError):
        expected = None
    try:
        found = repr(Expression("k").value({"k": text}))
    except EvaluationError:
        found = None
    assert found == expected


def test_a_condition_is_true_of_some_states_whatever_came_before():
    odd = Expression("k % 2 and k not in seen")
    states = [(str(k), seen) for k in range(6) for seen in ("[]", "[3]")]
    for _ in range(2):
        held = [odd.holds({"k": k, "seen": seen, "other": "?"}) for k, seen in states]
        assert held == [k in "135" and not (k == "3" and seen == "[3]") for k, seen in states]
    with pytest.raises(EvaluationError, match="no local 'seen'"):
        odd.holds({"k": "1"})


def test_a_condition_that_cannot_be_evaluated_stops_and_says_why():
    point = Breakpoint(1, condition="later > 3")
    assert point.meets({"k": "1"}) and "no local 'later'" in point.problem
    assert point.meets({"later": "4"}) and not point.problem
    with pytest.raises(EvaluationError, match="no Python expression"):
        Breakpoint(1, condition="later >")
