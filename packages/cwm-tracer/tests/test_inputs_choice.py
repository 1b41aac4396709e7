"""The choice among inputs: what they reach, and whether they do so every time."""

import random

import pytest

from cwm_core.plugins import registry
from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.limits import Limits
from cwm_tracer.inputs.budget import Budget
from cwm_tracer.inputs.callee import Callee
from cwm_tracer.inputs.choice import choose
from cwm_tracer.inputs.coverage import is_misuse, reached, shape
from cwm_tracer.programs.program import Program

BUILT_IN = ("usage", "doctest", "hints", "mutation")


@pytest.fixture(scope="module")
def tracers():
    limits = Limits(steps=2000, timeout_s=5)
    with SettraceConfig().build(limits) as one, SettraceConfig(hash_seed=1).build(limits) as two:
        yield one, two


class Listed:
    """Proposes given argument lists."""

    def __init__(self, *texts):
        self.texts = texts

    def inputs(self, callee, known, seed):
        yield from self.texts


class Blind:
    """Proposes integers at random."""

    def inputs(self, callee, known, seed):
        rng = random.Random(seed)
        for _ in range(200):
            yield str(rng.randint(-(10**6), 10**6))


@pytest.fixture
def chosen(tracers):
    def run(source, *texts, generators=(), entry="f", seed=0, **budget):
        used = {name: registry().make("input_generators", name).build() for name in generators}
        if texts:
            used = {"listed": Listed(*texts), **used}
        return choose(Callee(source, entry), used, *tracers, Budget(**budget), seed)

    return run


BRANCHES = """\
def f(n):
    if n > 10:
        return "large"
    if n < 0:
        return "negative"
    for i in range(n):
        if i == 3:
            return "four"
    return "small"
"""


def test_inputs_that_reach_something_new_are_kept_best_first(chosen):
    choice = chosen(BRANCHES, "20", "30", "-1", "-2", "0", "5", "6", "30")
    assert set(choice.inputs) == {"20", "-1", "0", "5"}
    assert choice.inputs[0] == "5"
    assert choice.dropped == {"nothing new": 3}
    assert choice.lines == 8
    assert choice.tried == 7
    assert choice.by_generator == {"listed": 4}


def test_a_budget_of_kept_inputs_takes_those_that_add_most(chosen):
    choice = chosen(BRANCHES, "20", "-1", "0", "5", kept=2)
    assert len(choice.inputs) == 2 and choice.inputs[0] == "5"
    assert choice.dropped == {"adds less than others": 2}


GUARDED = {
    "a number": "def f(n):\n    if n == 7341:\n        return 1\n    return 0\n",
    "a word": (
        "def f(word):\n    if word == 'swordfish':\n        return 1\n"
        "    if word.isdigit():\n        return 2\n    return 3\n"
    ),
    "a list": (
        "def f(xs):\n    if not xs:\n        return 0\n    if len(xs) > 3:\n        return 1\n"
        "    if xs == sorted(xs):\n        return 2\n    return 3\n"
    ),
    "an object": (
        "from dataclasses import dataclass\n\n@dataclass\nclass P:\n    kind: str\n    n: int\n\n"
        "def f(p: P):\n    if p.kind == 'b':\n        if p.n > 5:\n            return 1\n"
        "        return 2\n    return 3\n"
    ),
}


@pytest.mark.parametrize("source", GUARDED.values(), ids=GUARDED)
def test_every_branch_is_found_that_blind_chance_misses(source, tracers):
    used = {name: registry().make("input_generators", name).build() for name in BUILT_IN}
    guided = choose(Callee(source, "f"), used, *tracers, Budget())
    blind = choose(Callee(source, "f"), {"blind": Blind()}, *tracers, Budget())
    wanted = source[source.index("def f") :].count("\n") - 1
    assert guided.lines == wanted
    assert blind.lines < wanted
    assert guided.tried <= Budget().candidates


UNSTEADY = {
    "order of a set": "def f(n):\n    return list({'alpha', 'beta', 'gamma', 'delta', str(n)})\n",
    "hash": "def f(n):\n    return hash(str(n))\n",
    "chance": "import random\ndef f(n):\n    return random.random() + n\n",
    "time": "import time\ndef f(n):\n    return time.perf_counter_ns() + n\n",
    "address": "def f(n):\n    return id([n])\n",
    "address in a text": "class C:\n    pass\n\ndef f(n):\n    return len(str(n)), repr(C())\n",
    "process": "import os\ndef f(n):\n    return os.getpid() + n\n",
}


@pytest.mark.parametrize("source", UNSTEADY.values(), ids=UNSTEADY)
def test_what_is_not_deterministic_is_dropped(chosen, source):
    choice = chosen(source, "1", "2", "30", "400")
    assert choice.inputs == ()
    assert choice.reason == "not deterministic"
    assert choice.dropped == {"not deterministic": 3}


def test_only_the_unsteady_inputs_of_a_function_are_dropped(chosen):
    source = "def f(n):\n    if n > 3:\n        return n, id(object())\n    return n\n"
    choice = chosen(source, "1", "9")
    assert choice.inputs == ("1",) and choice.dropped == {"not deterministic": 1}


def test_wrong_arguments_are_dropped(chosen):
    source = "def f(xs):\n    return len(xs)\n"
    choice = chosen(source, "", "1, 2", "[1]", "5", "y=3", "1 +")
    assert choice.inputs == ("[1]",)
    assert choice.dropped == {"wrong arguments": 3, "wrong types": 1}


def test_wrong_types_are_kept_where_nothing_else_is(chosen):
    assert chosen("def f(xs):\n    return len(xs)\n", "5", "6").inputs == ("5",)
    refused = "def f(x):\n    if x < 0:\n        raise TypeError('negative')\n    return x\n"
    assert set(chosen(refused, "5", "-5").inputs) == {"5", "-5"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module\ndef f(n):\n    return n\n", "cannot be loaded"),
        ("def f(n):\n    while True:\n        n += 1\n", "incomplete: step_limit"),
        ("import os\ndef f(n):\n    os._exit(n)\n", "incomplete: exited"),
    ],
)
def test_hopeless_functions_are_given_up_early(chosen, source, reason):
    choice = chosen(source, *map(str, range(50)))
    assert choice.inputs == () and choice.reason.startswith(reason)
    assert choice.tried <= 3


def test_budgets_bound_the_search(chosen):
    assert chosen(BRANCHES, *map(str, range(50)), candidates=7).tried == 7
    late = chosen(BRANCHES, *map(str, range(50)), seconds=1e-9)
    assert late.inputs == ("0",) and late.tried == 1 and late.dropped == {"out of time": 1}
    assert chosen(BRANCHES, "1 +", "2)").reason == "nothing proposes an input"


def test_the_choice_follows_the_seed_alone(chosen):
    one = chosen(GUARDED["a list"], generators=BUILT_IN, seed=5)
    assert one == chosen(GUARDED["a list"], generators=BUILT_IN, seed=5)
    assert one != chosen(GUARDED["a list"], generators=BUILT_IN, seed=6)


def test_an_objection_drops(tracers):
    choice = choose(
        Callee(BRANCHES, "f"),
        {"listed": Listed("5", "20")},
        *tracers,
        Budget(),
        objection=lambda record: "too many" if record.events > 5 else None,
    )
    assert choice.inputs == ("20",) and choice.dropped == {"too many": 1}


def test_methods_of_objects(chosen):
    source = (
        "class Account:\n    def __init__(self, owner, balance):\n"
        "        self.balance = balance\n\n"
        "    def take(self, amount):\n        if amount > self.balance:\n"
        "            raise ValueError(amount)\n        self.balance -= amount\n"
        "        return self.balance\n"
    )
    choice = chosen(source, generators=("hints", "mutation"), entry="Account.take")
    assert choice.lines == 4
    assert all(text.startswith("Account(") for text in choice.inputs)


def test_coverage_tells_branches_from_lines(tracers):
    tracer, _ = tracers
    source = "def f(n):\n    if n:\n        n += 1\n    return n\n"
    program = Program.of(source, "f", ())
    taken = reached(tracer.record(program, "1").frames)
    skipped = reached(tracer.record(program, "0").frames)
    assert skipped.lines < taken.lines
    assert {branch[1:] for branch in skipped.branches - taken.branches} == {(2, 4)}
    raised = tracer.record(program, "'a'")
    assert is_misuse(raised) and reached(raised.frames).raised


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (("17", "99"), "170"),
        (("1", "7"), "0"),
        (("-4", "-7"), "4"),
        (("'abcd'", "'efgh'"), "''"),
        (("[1, 2]", "[3, 4]"), "[1]"),
        (("[1]", "[2]"), "['a']"),
        (("[', ,']", "['a']"), "['a', 'b']"),
        (("(1,)", "(2,)"), "(1, 2)"),
        (("Point(x=1)", "Point(x=2)"), "Line(x=1)"),
        (("1.5", "2.5"), "1"),
        (("True", "True"), "False"),
    ],
)
def test_shapes_are_type_and_size(same, other):
    one, two = same
    assert shape(one) == shape(two) != shape(other)
