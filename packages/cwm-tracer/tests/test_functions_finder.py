"""Finding functions: what is taken, with what of its module, and what is left out and why."""

import gzip
import json

import pytest

from cwm_core.config import compose
from cwm_core.errors import CwmError
from cwm_core.plugins import registry
from cwm_tracer.collect.effects import side_effect
from cwm_tracer.collect.function_finder import find_functions
from cwm_tracer.collect.functions_config import FunctionsConfig
from cwm_tracer.collect.slices import Module


def found(*sources, **fields):
    overrides = [f"{key}={value}" for key, value in fields.items()]
    listed = ",".join(map(str, sources))
    config = compose(
        "trace functions", FunctionsConfig, [f"sources=[{listed}]", "out=x", *overrides]
    )
    return find_functions(config)


def reasons(result):
    return {where.rpartition(":")[2]: reason for where, reason in result.skipped}


MODULE = '''\
"""A module."""
from __future__ import annotations

import math, random
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nowhere import Thing

try:
    from fast import quick
except ImportError:
    quick = None

LIMIT = 10; OTHER = 20
TABLE = {}
TABLE["a"] = LIMIT
print("loading")


class Base:
    unit = LIMIT

    def shown(self):
        return scaled(self.unit)


class Child(Base):
    def __init__(self, n):
        self.n = n

    @property
    def twice(self):
        return 2 * self.n

    @classmethod
    def make(cls, n):
        return cls(n)


@staticmethod
def scaled(x: Thing, by=OTHER):
    """Scale."""
    # a comment stays
    table = TABLE
    return [math.floor(v) * by for v in table], x


def counted(words):
    total = Counter(words)

    def inner(scaled):
        return scaled

    return total, inner(1)


if __name__ == "__main__":
    TABLE["b"] = 1
'''


def test_a_slice_has_what_is_needed_and_nothing_else():
    module = Module(MODULE)
    counted = module.slice("counted")
    assert counted.undefined == frozenset()
    assert counted.source.startswith(
        "from __future__ import annotations\nfrom collections import Counter\n\n\ndef counted"
    )
    assert "Scale" not in counted.source
    scaled = module.slice("scaled").source
    for kept in ("import math", "LIMIT = 10", "OTHER = 20", 'TABLE["a"] = LIMIT', "# a comment"):
        assert kept in scaled, kept
    for left in ("Counter", "loading", "Base", "quick", "__main__"):
        assert left not in scaled, left
    assert scaled.index("LIMIT") < scaled.index("TABLE =") < scaled.index("def scaled")


def test_a_slice_of_a_class_has_its_bases():
    source = Module(MODULE).slice("Child").source
    assert "class Base" in source and "def scaled" in source and "def counted" not in source


def test_slices_run_alone():
    for name in ("counted", "scaled", "Child"):
        namespace: dict = {"__name__": "slice"}
        exec(Module(MODULE).slice(name).source, namespace)
        assert name in namespace


def test_undefined_names_are_told():
    assert Module("def f():\n    return g() + len([])\n").slice("f").undefined == {"g"}
    scoped = (
        "import os\ndef f(a, *b, c=1, **d):\n    global G\n    try:\n        G = [x for x in a]\n"
    )
    scoped += "    except E as e:\n        raise e\n    return (lambda y: y + z)(b)\n"
    assert Module(scoped).slice("f").undefined == {"E", "z", "G"}


def test_relative_imports_become_absolute():
    module = Module("from . import a\nfrom ..b import c\n\ndef f():\n    return a, c\n", "x.y.z")
    assert "from x.y import a" in module.slice("f").source
    assert "from x.b import c" in module.slice("f").source


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def f(p):\n    return open(p)", "files"),
        ("from pathlib import Path\ndef f(p):\n    return Path(p).read_text()", "files"),
        ("import os\ndef f(p):\n    return os.environ[p]", "processes and the system"),
        ("import os.path as op\ndef f(p):\n    return op.exists(p)", "files"),
        ("import urllib.request\ndef f(u):\n    return urllib.request.urlopen(u)", "the network"),
        ("from datetime import date\ndef f():\n    return date.today()", "the clock"),
        ("import datetime as dt\ndef f():\n    return dt.datetime.now()", "the clock"),
        ("from random import choice\ndef f(xs):\n    return choice(xs)", "chance"),
        ("def f(x):\n    return eval(x)", "code made at run time"),
        ("def f():\n    return input()", "the terminal"),
        ("from threading import Lock\ndef f():\n    return Lock()", "threads and tasks"),
        ("import os\ndef f(p):\n    return os.path.join(p, 'x')", None),
        ("import sys\ndef f():\n    return sys.maxsize", None),
        ("import urllib.parse\ndef f(u):\n    return urllib.parse.quote(u)", None),
        ("import random\ndef f(s):\n    return random.Random(s).random()", None),
        ("from datetime import date\ndef f(n):\n    return date(2020, 1, n)", None),
        ("import io\ndef f(t):\n    return io.StringIO(t).read()", None),
    ],
)
def test_side_effects(body, reason):
    assert side_effect(Module(body + "\n").slice("f").tree) == reason


FILE = '''\
import abc
import json
from typing import Protocol
import nonexistent_package
from . import sibling


def fine(a):
    return a


def also_fine(b):
    return json.dumps(b)


def renamed(c):
    return c


def stub():
    """Nothing."""


def later():
    raise NotImplementedError


def foreign(a):
    return nonexistent_package.f(a)


def own(a):
    return sibling.f(a)


def broken(a):
    return nobody(a)


def test_fine():
    assert fine(3) == 3


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

    def name(self):
        return "shape"


class Speaks(Protocol):
    def speak(self): return 1


class Square:
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side**2

    @property
    def wide(self):
        return self.side > 10

    @staticmethod
    def unit():
        return 1
'''


def test_what_is_left_out_has_a_reason(tmp_path):
    path = tmp_path / "mod.py"
    path.write_text(FILE)
    result = found(path)
    entries = [function.program.entry for function in result.functions]
    assert entries == ["fine", "also_fine", "Square.area", "Square.unit"]
    assert reasons(result) == {
        "renamed": "skipped: duplicate",
        "stub": "skipped: stub",
        "later": "skipped: stub",
        "foreign": "skipped: needs other packages",
        "own": "skipped: needs its package",
        "broken": "skipped: uses undefined names",
        "test_fine": "skipped: test",
        "Shape.area": "skipped: abstract class",
        "Shape.name": "skipped: abstract class",
        "Speaks.speak": "skipped: protocol",
        "Square.wide": "skipped: property",
    }
    ids = [function.program.id for function in result.functions]
    assert len(set(ids)) == len(ids)
    assert "import abc" not in result.functions[0].program.source
    assert [f.program.entry for f in found(path, methods="false").functions] == entries[:2]
    assert [f.program.entry for f in found(path, limit=1).functions] == ["fine"]
    assert "also_fine" in reasons(found(path, max_lines=4))


def test_a_named_file_is_taken_wherever_it_is(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "helpers.py").write_text("def f(x):\n    return x\n")
    assert len(found(tmp_path / "tests" / "helpers.py").functions) == 1


def test_directories_bring_their_tests_and_unreadable_files_are_counted(tmp_path):
    package = tmp_path / "pack"
    (package / "tests").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "core.py").write_text("def double(x):\n    return 2 * x\n")
    (package / "bad.py").write_text("def f(:\n")
    (package / "odd.py").write_bytes(b"\xff\xfe\x00")
    (package / "tests" / "test_core.py").write_text(
        "from pack.core import double\n\ndef test_double():\n    assert double(21) == 42\n"
    )
    more = tmp_path / "more.py"
    more.write_text("print(double('ab'))\n")
    result = found(package, tests=f"[{more}]")
    assert [function.program.entry for function in result.functions] == ["double"]
    assert sorted(reason for _, reason in result.skipped) == [
        "skipped: cannot be read",
        "skipped: no valid Python",
    ]
    usage = registry().make("input_generators", "usage").build()
    assert list(usage.inputs(result.functions[0].callee, (), 0)) == ["21", "'ab'"]


def test_installed_packages_are_read_without_being_imported(make_plugin, monkeypatch):
    modules = {
        "loud_package.__init__": "raise RuntimeError('imported')\n",
        "loud_package.inner": "from .other import N\n\ndef f(x):\n    return x + N\n",
        "loud_package.other": "N = 3\n",
    }
    make_plugin("loud-dist", modules, "loud_package.inner")
    result = found("loud_package")
    (function,) = result.functions
    assert function.program.source.startswith("from loud_package.other import N\n")
    assert len(found("loud_package.inner").functions) == 1
    assert found("textwrap", "bisect").functions


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no_such_package_at_all", "no_such_package_at_all"),
        ("missing.py", "missing.py"),
        ("missing.jsonl", "missing.jsonl"),
        ("textwrap.nothing", "textwrap.nothing"),
        ("math", "no Python source"),
    ],
)
def test_missing_sources_are_told(source, message):
    with pytest.raises(CwmError, match=message):
        found(source)


def test_data_sets_with_their_own_field_names(tmp_path):
    path = tmp_path / "set.jsonl.gz"
    rows = [
        {"code": "def f(x):\n    return x\n", "name": "f", "calls": ["1", "'a'"]},
        {"code": "def g(x):\n    return -x\n\ndef h(x):\n    return not x\n", "asserts": "g(5)"},
        {"code": "def (", "name": "f"},
        {"code": "x = 1\n", "name": "x"},
    ]
    with gzip.open(path, "wt") as file:
        file.write("\n".join(map(json.dumps, rows)) + "\n")
    names = {"source": "code", "entry": "name", "inputs": "calls", "tests": "asserts"}
    result = found(path, **{f"fields.{key}": value for key, value in names.items()})
    assert [function.program.entry for function in result.functions] == ["f", "g", "h"]
    assert result.functions[0].program.inputs == ("1", "'a'")
    assert result.functions[1].callee.usages[1] == "g(5)"
    assert sorted(reason for _, reason in result.skipped) == [
        "skipped: no function",
        "skipped: no valid Python",
    ]
    assert not result.benchmark
    with pytest.raises(CwmError, match=r"set\.jsonl\.gz:1"):
        found(path)


def test_benchmarks_stay_apart(tmp_path, shared_data):
    plain = tmp_path / "mod.py"
    plain.write_text(FILE)
    benchmark = shared_data / "cruxeval.jsonl"
    with pytest.raises(CwmError, match="benchmark"):
        found(plain, benchmark)
    assert found(benchmark, limit=3).benchmark
    assert len(found(plain, benchmark, **{"split.side": "test", "limit": 6}).functions) == 6


@pytest.mark.parametrize(
    ("name", "rows", "bare"), [("HumanEval.jsonl.gz", 164, 2), ("mbpp.jsonl", 974, 0)]
)
def test_reference_solutions_have_inputs_from_tests_or_docstrings(shared_data, name, rows, bare):
    """Two of HumanEval have neither examples nor tests with values: their tests draw at random."""
    result = found(shared_data / name)
    duplicates = [where for where, reason in result.skipped if reason == "skipped: duplicate"]
    assert len(result.functions) + len(duplicates) == rows
    assert len(duplicates) == len(result.skipped)
    generators = [
        registry().make("input_generators", kind).build() for kind in ("usage", "doctest")
    ]
    without = [
        function.program.entry
        for function in result.functions
        if not function.program.inputs
        and not any(next(g.inputs(function.callee, (), 0), None) is not None for g in generators)
    ]
    assert len(without) == bare, without
    hints = registry().make("input_generators", "hints", count=3).build()
    for function in result.functions:
        if function.program.entry in without:
            assert next(hints.inputs(function.callee, (), 0))
