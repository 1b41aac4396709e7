"""The native recorder writes what its twin in Python writes, byte for byte, and changes nothing.

`CWM_NATIVE_PROGRAMS=2000` compares so many generated programs of each difficulty instead of a few.
"""

import ast
import contextlib
import gc
import importlib.util
import io
import json
import os
import random
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cwm_tracer.capture import native_choice
from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.limits import Limits
from cwm_tracer.capture.process import TracedProcess
from cwm_tracer.capture.statements import Statements, find_entry
from cwm_tracer.capture.stream import Region
from cwm_tracer.capture.tracer import SettraceTracer
from cwm_tracer.capture.values import Renderer
from cwm_tracer.programs.generator import generate

pytestmark = pytest.mark.skipif(
    native_choice.missing is not None, reason="the native recorder was not compiled"
)
PER_DIFFICULTY = int(os.environ.get("CWM_NATIVE_PROGRAMS", "20"))
LIMITS = Limits(timeout_s=60, steps=20_000)
VALUES = {"value_bytes": 8192, "value_nodes": 2048, "value_depth": 24, "call_repr": False}
SMALL = {"value_bytes": 200, "value_nodes": 20, "value_depth": 3}


def nasty():
    path = Path(__file__).with_name("nasty_programs.py")
    spec = importlib.util.spec_from_file_location("nasty_programs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PROGRAMS


class Recorders:
    """Both recorders behind one fork server: addresses, and so some hashes, are the same."""

    def __init__(self):
        self._tracer = SettraceTracer(SettraceConfig(native="off"), LIMITS)
        self._process = TracedProcess(trace_bytes=LIMITS.trace_bytes)

    def __call__(self, source, text="", entry="f", **values):
        """Return the records of a program, which both wrote alike."""
        request = self._tracer._request(source, entry, text, None)
        request["values"] = VALUES | values
        native, twin = (
            self._process.run({**request, "native": native}).records.split("\x1e")
            for native in (True, False)
        )
        for index, (one, other) in enumerate(zip(native, twin)):
            assert one == other, f"record {index} of\n{source}"
        assert len(native) == len(twin), source
        return twin

    def close(self):
        self._process.close()


@pytest.fixture(scope="module")
def record():
    both = Recorders()
    yield both
    both.close()


def end_of(records):
    return json.loads(next(r for r in reversed(records) if r.startswith("x")).split("\x1f")[1])


def untraced(program, text):
    """Outcome, and text of the value or error, of a program that nobody watches."""
    namespace = {"__name__": "program"}
    renderer = Renderer()
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(program.source, "<program>", "exec"), namespace)
        arguments, named = eval(f"(lambda *a, **k: (a, k))({text})", namespace)
        try:
            found = namespace[program.entry](*arguments, **named)
        except Exception as error:
            return "raised", renderer.text(error)
    return "returned", renderer.text(found)


@pytest.mark.parametrize("difficulty", [1, 2, 3, 4, 5])
def test_generated_programs(record, difficulty):
    for seed in range(PER_DIFFICULTY):
        program = generate(70_000 + seed, difficulty)
        text = program.inputs[seed % len(program.inputs)]
        records = record(program.source, text, program.entry)
        end = end_of(records)
        if end["outcome"] in ("returned", "raised"):
            last = next(r for r in reversed(records) if r[:1] in ("r", "e")).split("\x1f")[3]
            found = last if end["outcome"] == "returned" else end["reason"]
            assert (end["outcome"], found) == untraced(program, text)


def test_the_programs_of_cruxeval(record):
    root = Path(__file__).resolve().parents[3]
    data = Path(os.environ.get("CWM_SHARED_DATA", root.parent / "shared" / "data"))
    path = data / "cruxeval.jsonl"
    if not path.exists():
        pytest.skip("no shared data")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[:: 1 if PER_DIFFICULTY > 20 else 16]:
        assert end_of(record(row["code"], row["input"]))["outcome"] == "returned"


@pytest.mark.parametrize("name", nasty())
def test_nasty_programs(record, name):
    source = textwrap.dedent(nasty()[name])
    own = [{"call_repr": True}] if "class " in source else []
    for values in ({}, SMALL, *own):
        record(source, **values)


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**140), 2**140)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
KEYS = st.recursive(ATOMS, lambda inner: st.tuples(inner, inner), max_leaves=4)
ANY = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=10, phases=[Phase.generate])
@given(st.lists(ANY, min_size=5, max_size=60), st.integers(64, 300), st.integers(8, 40))
def test_any_value(record, values, size, nodes):
    source = "from math import inf, nan\ndef f(*all):\n    for x in all:\n        y = [x]\n"
    text = ", ".join(map(repr, values))
    record(source, text)
    record(source, text, value_bytes=size, value_nodes=nodes, value_depth=3)


def mutations(seed, count=60):
    """A program that changes nested containers in random places."""
    rng = random.Random(seed)

    def value(depth=0):
        kinds = ["1", "True", "1.0", "'a'", "None", "10**40", "b'x'", f"{rng.randrange(2000)}"]
        if depth < 3:
            items = ", ".join(value(depth + 1) for _ in range(rng.randrange(4)))
            pairs = ", ".join(f"{i}: {value(depth + 1)}" for i in range(rng.randrange(4)))
            kinds += [f"[{items}]", f"[{items}]", f"tuple([{items}])", f"{{{pairs}}}", "{1, 2}"]
        return rng.choice(kinds)

    changes = (
        "x[{i} % len(x)] = {v}",
        "x.append({v})",
        "x.insert({i}, {v})",
        "x.pop({i} % len(x))",
        "x[{i} % len(x)] = x[{j} % len(x)]",
        "y = next((k for k in x if type(k) is list), x); y.append({v})",
        "y = next((k for k in x if type(k) is dict), z); y[{i}] = {v}",
        "y = next((k for k in x if type(k) is dict), z); y.pop({i}, None)",
        "z[{j}] = {v}",
        "x = x[:]",
        "x = x or [{v}]; y = x[0]",
        "x.sort(key=repr)",
        "z = dict(reversed(z.items()))",
        "x[:] = [{v}] * {i}",
    )
    lines = [
        "x = x or [0]; "
        + rng.choice(changes).format(i=rng.randrange(9), j=rng.randrange(5), v=value())
        for _ in range(count)
    ]
    return "def f():\n    x = [1, [2], {3: [4]}]\n    z = {}\n    " + "\n    ".join(lines) + "\n"


def test_changes_anywhere(record):
    for seed in range(15):
        record(mutations(seed))
        record(mutations(seed), **SMALL)


class Watched:
    """The native recorder in this very process."""

    def __init__(self, source, **values):
        descriptor = os.memfd_create("test")
        os.ftruncate(descriptor, 1 << 24)
        self.region = Region(descriptor, 1 << 24)
        os.close(descriptor)
        self.region.reset = None
        self.namespace = {"__name__": "program"}
        exec(compile(source, "<program>", "exec"), self.namespace)
        self._tree = ast.parse(source)
        self._values = values
        self.ends = []

    def run(self, *arguments):
        self.region._committed[0] = 8
        recorder = native_choice.recorder_class(True)(
            self.region,
            Renderer(**self._values),
            Statements.of(self._tree),
            filename="<program>",
            entry=find_entry(self._tree, "f"),
            steps=10**9,
            depth=500,
            finish=lambda *end: self.ends.append(end),
        )
        before = sys.gettrace()
        recorder.start()
        try:
            return self.namespace["f"](*arguments)
        finally:
            sys.settrace(before)


LIVES = """
import sys, weakref

class A:
    def __init__(self, name, log):
        self.name, self.log = name, log
    def __del__(self):
        self.log.append(f"del {self.name}")

def f():
    log = []
    a = A("a", log)
    r = weakref.ref(a, lambda _: log.append("ref"))
    log.append("before")
    a = None
    log.append("after")
    b = [A("b", log)]
    b[0] = 1
    log.append("list")
    c = {"k": (A("c", log), [A("d", log)])}
    c["k"][1].clear()
    log.append("nested")
    c.clear()
    log.append("dict")
    def g(e):
        log.append("in")
        del e
        log.append("gone")
    g(A("e", log))
    t = (A("f", log),)
    t = {A("g", log)}
    t = 0
    x = ["x", []]
    log.append(sys.getrefcount(x) + sys.getrefcount(x[1]))
    return log
"""


def test_objects_die_when_they_would_without_a_recorder():
    watched = Watched(LIVES)
    expected = watched.namespace["f"]()
    assert expected[:4] == ["before", "del a", "ref", "after"]
    assert watched.run() == expected
    assert watched.ends == [("returned", "")]


LEAKY = """
class P:
    def __init__(self, v):
        self.v = v

def g(n):
    for i in range(n):
        yield [i, {i: str(i)}]

def f(n):
    p = P([n])
    seen = []
    for x in g(4):
        seen.append(x)
        s = {i for i in range(3)} | {"a"}
    class C:
        y = [n]
    try:
        {}[n]
    except KeyError as e:
        z = e
    return seen, p
"""


def own_kilobytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_nothing_leaks():
    watched = Watched(LEAKY)
    for i in range(900):  # caches of the interpreter fill
        watched.run(i)
    gc.collect()
    blocks, memory = sys.getallocatedblocks(), own_kilobytes()
    for i in range(300):
        watched.run(i)
    watched.ends.clear()
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 150
    assert own_kilobytes() - memory < 1024


LONG = """
def f(n):
    rows = [[0] * 30 for _ in range(30)]
    counts = {}
    for i in range(n):
        rows[i % 30][i % 7] = i
        counts[i % 50] = str(i)
    return i
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_is_bounded_however_long_the_trace(tmp_path):
    watched = Watched(LONG)
    watched.run(50)
    before = own_kilobytes()
    watched.run(3000)
    assert watched.ends[-1] == ("returned", "")
    assert own_kilobytes() - before < 2048


def test_a_full_region_ends_the_recording():
    watched = Watched(LONG)
    assert watched.run(100_000) == 99_999
    assert watched.ends == [("value_limit", "the trace is larger than allowed")]
