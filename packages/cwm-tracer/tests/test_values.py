"""Values as text."""

import collections
import copy
import dataclasses
import enum
import fractions
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_tracer.capture.known import key_of
from cwm_tracer.capture.values import Renderer, elided

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
HASHABLE = st.recursive(ATOMS, lambda inner: st.tuples(inner, inner), max_leaves=4)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
    ),
    max_leaves=20,
)


def render(value, **options):
    return Renderer(module=__name__, **options).text(value)


@given(VALUES)
def test_builtin_values_equal_their_repr(value):
    assert render(value) == repr(value)


@given(st.sets(HASHABLE, max_size=6) | st.frozensets(st.integers(), max_size=6))
def test_sets_have_the_members_of_their_repr_in_an_order_of_their_own(value):
    text = render(value)
    # The same members, inserted the other way round, often iterate otherwise.
    again = type(value)(reversed(list(value)))
    assert text == render(again)
    assert sorted(text) == sorted(repr(value))


@given(VALUES, st.integers(64, 200), st.integers(8, 30), st.integers(1, 3))
def test_budgets_bound_the_text_and_mark_what_is_left_out(value, size, nodes, depth):
    text = render(value, value_bytes=size, value_nodes=nodes, value_depth=depth)
    # Every level open at the end adds at most a mark, a bracket and one last atom.
    assert len(text) <= size * 10 + 200 * (depth + 1)
    assert text == repr(value) or elided(text) > 0


def test_an_elided_text_says_how_much_is_missing():
    text = render(list(range(1_000_000)))
    assert len(text) < 10_000
    shown = text.count(",")
    assert elided(text) == 1_000_000 - shown
    assert re.search(r"<\+\d+ more>\]$", text)
    assert elided(render("x" * 10_000)) == 10_000 - render("x" * 10_000).count("x")


def test_marks_inside_of_strings_are_no_elisions():
    assert elided(render("<+3 more>")) == 0
    assert elided(render(["it's <+3 more>", '"'])) == 0


def test_integers_beyond_the_interpreters_own_limit():
    assert render(10**4000) == f"<int of {(10**4000).bit_length()} bits>"
    assert render(-(10**300)) == repr(-(10**300))


def test_cycles_and_shared_containers():
    loop = [1]
    loop.append(loop)
    table = {}
    table["self"] = table
    assert render(loop) == repr(loop)
    assert render(table) == repr(table)
    shared = []
    for _ in range(60):
        shared = [shared, shared]
    assert len(render(shared)) < 100_000


def test_deep_nesting_ends_at_the_depth_budget():
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert elided(render(deep)) == 1


class Point:
    def __init__(self):
        self.x = 1
        self.y = [self]


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self):
        self.b = 2


class Loud:
    calls = 0

    def __init__(self):
        self.size = 3

    def __repr__(self):
        Loud.calls += 1
        return ".."

    def __eq__(self, other):
        raise AssertionError("compared")

    def __hash__(self):
        raise AssertionError("hashed")

    def __getattribute__(self, name):
        raise AssertionError("asked for an attribute")


class Broken:
    def __repr__(self):
        raise ValueError("no")


class LoudList(list):
    def __iter__(self):
        raise AssertionError("iterated")

    def __len__(self):
        raise AssertionError("measured")


class LoudClass(type):
    def __hash__(cls):
        raise AssertionError("hashed")

    def __eq__(cls, other):
        raise AssertionError("compared")


class OfLoudClass(metaclass=LoudClass):
    pass


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Row:
    name: str
    cells: list


class CodeError(Exception):
    def __init__(self, code):
        self.code = code


Pair = collections.namedtuple("Pair", "left right")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Point(), "Point(x=1, y=[Point(...)])"),
        (Slotted(), "Slotted(b=2)"),
        (Color.RED, "<Color.RED: 1>"),
        (Row("a", [1]), "Row(name='a', cells=[1])"),
        (Pair(1, "b"), "Pair(left=1, right='b')"),
        (ValueError("bad"), "ValueError('bad')"),
        (KeyError("k", 2), "KeyError('k', 2)"),
        (CodeError(7), "CodeError(7)"),
        (LoudList([1, 2]), "LoudList([1, 2])"),
        ([OfLoudClass()], "[<OfLoudClass object #1>]"),
        (Point, "<class 'Point'>"),
        (int, "<class 'int'>"),
        (collections.OrderedDict, "<class 'collections.OrderedDict'>"),
        (render, "<function render>"),
        (len, "<built-in function len>"),
        ([].append, "<built-in method append of list object>"),
        (Point().__init__, "<bound method Point.__init__>"),
        ((i for i in ()), "<generator object <genexpr>>"),
        (math, "<module 'math'>"),
        (iter([]), "<list_iterator object>"),
        (collections.Counter("abb"), "Counter({'b': 2, 'a': 1})"),
        (collections.defaultdict(list, {1: [2]}), "defaultdict(<class 'list'>, {1: [2]})"),
        (collections.deque([1, 2], 3), "deque([1, 2], maxlen=3)"),
        (collections.OrderedDict(a=1), "OrderedDict({'a': 1})"),
        ({1: 2}.items(), "dict_items([(1, 2)])"),
        (slice(1, None), "slice(1, None, None)"),
        (fractions.Fraction(1, 3), "Fraction(1, 3)"),
        (bytearray(b"ab"), "bytearray(b'ab')"),
        (range(3), "range(0, 3)"),
        (..., "Ellipsis"),
    ],
)
def test_objects(value, text):
    assert render(value) == text


def test_nothing_of_the_program_runs():
    Loud.calls = 0
    assert render([{"a": Loud()}]) == "[{'a': Loud(size=3)}]"
    assert Loud.calls == 0


def test_own_repr_on_request():
    class Quiet:
        def __repr__(self):
            return "Quiet!"

    assert render([Quiet()], call_repr=True) == "[Quiet!]"
    assert render(Loud(), call_repr=True) == "<..>"
    assert render(Broken(), call_repr=True) == "<Broken object (repr raised ValueError)>"
    renderer = Renderer(module=__name__, call_repr=True)
    half = Broken()
    half.ready = False
    renderer.half_built[id(half)] = 1
    assert renderer.text(half) == "Broken(ready=False)"


def test_addresses_in_own_reprs_are_numbers():
    class Plain:
        def __repr__(self):
            return f"{object.__repr__(self)} {id(self):#x}"

    one, other = Plain(), Plain()
    renderer = Renderer(module=__name__, call_repr=True)
    text = renderer.text([one, other, one])
    assert "0x" not in text
    first, second, third = re.findall(r"at #(\d+)> #(\d+)", text)
    assert first == third != second and len(set(first)) == 1


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int
    y: tuple = (1,)
    hidden: int = dataclasses.field(default=3, repr=False)


@dataclasses.dataclass
class Wide(Row):
    extra: dict = dataclasses.field(default_factory=dict)


class OfDictionary(dict):
    pass


async def work():
    pass


def numbers():
    yield 1


def test_dataclasses_enums_and_running_code():
    coroutine, generator = work(), numbers()
    shown = {
        Frozen(2): "Frozen(x=2, y=(1,), hidden=3)",
        Level.LOW: "<Level.LOW: 1>",
        Access.READ | Access.WRITE: "<Access.READ|WRITE: 3>",
        coroutine: "<coroutine object work>",
        generator: "<generator object numbers>",
        work: "<function work>",
        Color: "<class 'Color'>",
        enum: "<module 'enum'>",
    }
    for value, text in shown.items():
        assert render([value]) == f"[{text}]"
    coroutine.close()
    assert render(Wide("a", [], {1: 2})) == "Wide(name='a', cells=[], extra={1: 2})"
    assert render(OfDictionary(a=1)) == "OfDictionary({'a': 1})"
    assert render([float("nan"), -0.0, float("-inf")]) == "[nan, -0.0, -inf]"


def test_a_shared_list_costs_no_more_than_its_budget():
    shared = [0]
    for _ in range(22):
        shared = [shared, shared]
    text = render(shared)
    assert len(text) < 20_000 and elided(text) > 0
    assert render([shared, shared], value_nodes=8).count("[") <= 10


@given(VALUES, VALUES)
def test_keys_tell_changes_and_nothing_else(one, other):
    renderer = Renderer()
    for value in ([one, other], (one, other), {"a": one, "b": other}, [one]):
        text = renderer.text(value)
        if not renderer.plain:
            continue
        key, same = key_of(value, type(value), renderer.shown)
        again = copy.deepcopy(value)
        for candidate in (value, again, [one], [one, other, 1], {"a": one}, {"b": other}):
            if type(candidate) is type(value) and same is not None and same(candidate, key):
                assert renderer.text(candidate) == text
        assert same is None or same(value, key)


class Slow(Renderer):
    def _rows(self, value):
        return None


@given(
    st.lists(st.lists(ATOMS, max_size=4), max_size=6) | VALUES,
    st.integers(8, 80),
    st.integers(64, 300),
    st.integers(1, 3),
)
def test_the_fast_way_to_show_rows_changes_no_text(rows, nodes, size, depth):
    budgets = {"value_nodes": nodes, "value_bytes": size, "value_depth": depth}
    for value in (rows, [rows, rows, rows], {1: rows, 2: [rows]}, ([], rows, "abc", rows)):
        assert Renderer(**budgets).text(value) == Slow(**budgets).text(value)


@given(VALUES, st.integers(8, 20), st.integers(64, 100))
def test_keys_of_what_is_cut_off_tell_changes_too(value, nodes, size):
    renderer = Renderer(value_nodes=nodes, value_bytes=size)
    items = [value, "a" * 30, value, [1], *range(20)]
    text = renderer.text(items)
    if renderer.plain:
        key, same = key_of(items, list, renderer.shown)
        assert same is None or same(items, key)
        for index in range(len(items)):
            changed = [*items]
            changed[index] = "changed"
            if same is not None and same(changed, key):
                assert renderer.text(changed) == text


def test_no_text_holds_an_address_or_a_separator():
    odd = type("Na\x1eme", (), {})()
    renderer = Renderer()
    texts = [renderer.text(v) for v in (object(), odd, lambda: 0, {}.keys, memoryview(b""), zip())]
    assert not any("0x" in text or "\x1e" in text for text in texts)


def test_numbers_tell_objects_apart_and_are_stable():
    renderer = Renderer()
    one, other = object(), object()
    assert renderer.text([one, other, one]) == (
        "[<object object #1>, <object object #2>, <object object #1>]"
    )
    assert renderer.text(other) == "<object object #2>"
