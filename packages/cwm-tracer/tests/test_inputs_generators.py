"""The built-in input generators."""

import ast
import json
from itertools import islice

import pytest

from cwm_core.errors import CwmError, DataError
from cwm_core.plugins import registry
from cwm_core.text.tokenizer import train_bpe
from cwm_tracer.inputs.callee import Callee, anatomy
from cwm_tracer.inputs.conformance import InputGeneratorConformance
from cwm_tracer.inputs.generator import InputGenerator


def made(name: str, **fields: object) -> InputGenerator:
    return registry().make("input_generators", name, **fields).build()


def drawn(name, source, entry, known=(), seed=0, most=40, usages=(), **fields):
    callee = Callee(source, entry, usages)
    return list(islice(made(name, **fields).inputs(callee, known, seed), most))


class TestUsage(InputGeneratorConformance):
    @pytest.fixture
    def generator(self):
        return made("usage")


class TestDoctest(InputGeneratorConformance):
    @pytest.fixture
    def generator(self):
        return made("doctest")


class TestHints(InputGeneratorConformance):
    @pytest.fixture
    def generator(self):
        return made("hints")


class TestMutation(InputGeneratorConformance):
    @pytest.fixture
    def generator(self):
        return made("mutation")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    found = train_bpe(["def f(x): return x"], 400)
    found.save(directory)
    return directory, found


@pytest.fixture
def scripted(tokenizer, tmp_path):
    """An `llm` generator whose engine gives these answers, in order."""
    directory, found = tokenizer

    def make(*answers, **fields):
        path = tmp_path / "script.jsonl"
        lines = [json.dumps({"token_ids": found.encode(answer)}) for answer in answers]
        path.write_text("\n".join(lines))
        engine = {"name": "scripted", "path": str(path)}
        return made("llm", engine=engine, tokenizer=str(directory), max_tokens=4096, **fields)

    return make


class TestLlm(InputGeneratorConformance):
    @pytest.fixture
    def generator(self, scripted):
        return scripted(*["[1], 2)\ndiscounted([5, 6], rebate=1)\n"] * 4)


CLASSES = """
from dataclasses import dataclass
from enum import Enum


class Color(Enum):
    RED = 1
    GREEN = 2


@dataclass
class Point:
    x: int
    y: int = 0


class Path:
    def __init__(self, points: list[Point], closed=False):
        self.points = points
        self.closed = closed

    def length(self, scale: float) -> float:
        return scale * len(self.points)


class Bag:
    def add(self, item: str) -> None:
        pass

    @staticmethod
    def merged(one: set[int], two: frozenset[str]):
        return one, two
"""


def test_usage_finds_calls_with_values_put_in():
    source = "def f(a, b=2):\n    return a\n\nN = [1, 2]\nprint(f(N))\nf(unknown)\nf(3, b=4)\n"
    tests = """
import pytest, mod

@pytest.mark.parametrize("a, expected", [(5, 1), pytest.param(6, 2)])
def test_f(a, expected):
    assert mod.f(a) == expected

def test_more():
    word = "x"
    assert f(word, len([1])) and other.g(9)
    word2 = "y"
    word2 = "z"
    f(word2)
"""
    found = drawn("usage", source, "f", usages=(tests, "no python ("))
    assert found == ["5", "6", "'x', len([1])", "[1, 2]", "3, b=4"]


def test_usage_knows_defaults():
    assert drawn("usage", "def f(a=1, *, b=2):\n    pass\n", "f") == [""]
    assert drawn("usage", "def f(a, b=2):\n    pass\n", "f") == []


def test_usage_of_methods_takes_the_object_along_where_it_is_needed():
    text = (
        "p = Path([Point(1)], True)\nb = Bag()\np.length(2.0)\nb.add('x')\nBag.merged({1}, set())\n"
    )
    assert drawn("usage", CLASSES, "Path.length", usages=(text,)) == ["Path([Point(1)], True), 2.0"]
    assert drawn("usage", CLASSES, "Bag.add", usages=(text,)) == ["'x'"]
    assert drawn("usage", CLASSES, "Bag.merged", usages=(text,)) == ["{1}, set()"]


def test_doctests_and_examples():
    source = '''
def total(prices, discount=0):
    """Add up.

    >>> basket = [1, 2]
    >>> total(basket)
    3
    >>> total([4],
    ...       discount=1)
    3
    >>> total(basket, wrong

    For example, total([9, 9], 2) -> 16; see also total(prices) and total(a, b).
    Input: prices = [7], discount = 5
    """
    return sum(prices) - discount
'''
    assert drawn("doctest", source, "total") == [
        "[1, 2]",
        "[4], discount=1",
        "[9, 9], 2",
        "prices=[7], discount=5",
    ]


def evaluated(source, texts):
    namespace: dict = {}
    exec(source, namespace)
    return [eval(f"(lambda *a, **k: (a, k))({text})", namespace) for text in texts]


def test_hints_follow_annotations():
    source = (
        "import datetime\nfrom typing import *\nT = TypeVar('T', bound=int)\nRow = dict[str, int]\n"
        "def f(a: int, b: 'list[str]', c: Optional[float], d: tuple[int, ...], e: Row,\n"
        "      g: Literal['x', 3], h: int | None = None, *rest: bool, when: datetime.date, t: T):\n"
        "    pass\n"
    )
    found = evaluated(source, drawn("hints", source, "f", count=60, most=60))
    assert len(found) > 20
    for (a, b, c, d, e, g, h, *rest), named in found:
        assert type(a) is int and type(named["t"]) is int
        assert type(b) is list and all(type(item) is str for item in b)
        assert c is None or type(c) in (float, int)
        assert type(d) is tuple and all(type(item) is int for item in d)
        assert all(type(k) is str and type(v) is int for k, v in e.items())
        assert g in ("x", 3)
        assert all(type(item) is bool for item in rest)
        assert type(named["when"]).__name__ == "date"
        assert type(h) in (int, type(None))


def test_hints_leave_out_what_has_a_default_half_of_the_time():
    found = evaluated("", drawn("hints", "def f(a: int, b: int = 1, *, c=2.5):\n    pass\n", "f"))
    assert {frozenset(named) for _, named in found} == {
        frozenset(names) for names in ((), ("b",), ("c",), ("b", "c"))
    }
    assert {type(named.get("c", 1.0)) for _, named in found} == {float}


def test_hints_make_objects_of_the_programs_own_classes():
    source = CLASSES + "\n\ndef f(color: Color, corners: list[Point], path: Path):\n    pass\n"
    found = evaluated(source, drawn("hints", source, "f", count=30))
    assert {type(color).__name__ for (color, _, _), _ in found} == {"Color"}
    corners = [point for (_, points, _), _ in found for point in points]
    assert corners and {type(point).__name__ for point in corners} == {"Point"}
    assert {type(path).__name__ for (*_, path), _ in found} == {"Path"}
    methods = evaluated(CLASSES, drawn("hints", CLASSES, "Path.length"))
    assert all(type(path).__name__ == "Path" and scale == scale for (path, scale), _ in methods)
    assert all(
        type(item) is str for (item,), _ in evaluated(CLASSES, drawn("hints", CLASSES, "Bag.add"))
    )


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("return [c.upper() for c in thing.split()]", str),
        ("for i in range(thing):\n        print(i)", int),
        ("return thing % 2 == 0", int),
        ("return {k: v for k, v in thing.items()}", dict),
        ("thing.append(1)\n    return thing", list),
        ("return sum(x * 2 for x in thing)", list),
        ("return [ord(c) for c in thing]", str),
        ("return helper(thing)", str),
        ("'''Do.\n\n    Args:\n        thing (dict): a table\n    '''\n    return thing", dict),
        ("return thing(3)", "function"),
    ],
)
def test_hints_read_the_body_where_there_are_no_annotations(body, kind):
    source = f"def helper(s):\n    return s.strip()\n\ndef f(thing):\n    {body}\n"
    found = [values[0] for values, _ in evaluated(source, drawn("hints", source, "f"))]
    name = kind if isinstance(kind, str) else kind.__name__
    kinds = [type(value).__name__ for value in found]
    fitting = sum(
        each == name or (name == "function" and callable(v)) for each, v in zip(kinds, found)
    )
    assert fitting > len(found) / 2, kinds


def test_hints_use_what_the_program_compares_with():
    source = "def f(word: str):\n    return word == 'open sesame'\n"
    assert "'open sesame'" in drawn("hints", source, "f")


def test_mutation_stays_in_type():
    known = ("[1, 2, 3], 'abc', {'k': 1.5}", "[9], 'x', {}")
    found = drawn("mutation", "def f(a, b, c):\n    pass\n", "f", known, count=60, most=60)
    assert len(set(found)) == 60 and not set(found) & set(known)
    for (a, b, c), _ in evaluated("", found):
        assert type(a) is list and all(type(item) is int for item in a)
        assert type(b) is str
        assert all(type(k) is str and type(v) is float for k, v in c.items())


def test_mutation_of_nothing_is_nothing():
    assert drawn("mutation", "def f(a):\n    pass\n", "f") == []


ANSWER = """Sure! Here are some calls:

1. `classify(0)` - zero
* classify(-3)  # negative
```python
assert classify(x=12) == "large"
classify(7, unknown=1)
classify(1, 2, 3)
classify(open("/etc/passwd").read())
classify([1, 2)
classify(__import__("os").system("true"))
```
print(classify(100))
"""
CLASSIFY = "def classify(x, y=1):\n    return x\n"


def test_llm_answers_are_read_leniently_and_checked(scripted):
    generator = scripted(ANSWER, chat=True)
    found = list(generator.inputs(Callee(CLASSIFY, "classify"), ("100",), 0))
    assert found == ["0", "-3", "x=12"]


def test_llm_continues_a_text_and_may_answer_in_json(scripted):
    generator = scripted("4)\nclassify(5, 6)\nclassify(", '[1, 2]\n[null, "a"]\nnonsense')
    callee = Callee(CLASSIFY, "classify")
    assert list(generator.inputs(callee, (), 0)) == ["4", "5, 6"]
    assert list(generator.inputs(callee, (), 0)) == ["1, 2", "None, 'a'"]


def test_llm_without_a_tokenizer_is_refused(tmp_path):
    (tmp_path / "s.jsonl").write_text("")
    with pytest.raises(CwmError, match="tokenizer"):
        made("llm", engine={"name": "scripted", "path": str(tmp_path / "s.jsonl")})


@pytest.mark.parametrize("source", ["def g():\n    pass\n", "def f(:\n", "f = 3\n"])
def test_a_missing_function_is_told(source):
    with pytest.raises(DataError):
        anatomy(Callee(source, "f"))


def test_all_generators_accept_odd_signatures():
    source = "def f(a, /, b, *c, d, e=5, **k):\n    return a\n"
    for name in ("usage", "doctest", "hints", "mutation"):
        for text in drawn(name, source, "f", ("1, 2, d=3",)):
            call = ast.parse(f"f({text})", mode="eval").body
            assert len(call.args) >= 2 and "d" in {word.arg for word in call.keywords}
