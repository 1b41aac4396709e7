"""The runtime that is injected into test processes, on every Python that this machine has."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_tracer.collect.repository.inject import PACKAGE, runtime_files
from cwm_tracer.collect.repository.streams import read_stream

LIBRARY = """\
import functools
import types


def decorated(f):
    @functools.wraps(f)
    def inner(*a, **k):
        return f(*a, **k)

    return inner


def double(x):
    y = x * 2
    return y


@decorated
def total(n, *rest, key=None, **more):
    result = 0
    for i in range(n):
        result += double(
            i
        )
    values = [double(v) for v in rest]
    return result, values


class Counter:
    def __init__(self, x):
        self.x = x

    def each(self):
        for i in range(self.x):
            yield i

    def fail(self):
        try:
            raise ValueError("no")
        finally:
            z = 1


async def coroutine(x):
    await pause(x)
    return x


@types.coroutine
def pause(x):
    yield x


def hot(n):
    return n
"""

DRIVER = """\
import json, os, sys, threading

sys.path[:0] = ["runtime", "repository"]
from _cwm_runtime import cutter, index

index.main("repository", "index", '["*.py"]', "[]")
os.mkdir("out")
settings = json.loads(sys.argv[1])
recorder = cutter.Cutter(settings)
import library
"""

SETTINGS = {
    "index": "index",
    "out": "out",
    "stream_bytes": 1 << 20,
    "seed": 1,
    "patience": 10_000,
    "process_events": 10_000,
    "test_events": 10_000,
    "probability": 1.0,
    "quota": 3,
    "depth": 2,
    "step_in": 1.0,
    "events": 500,
    "bytes": 100_000,
    "values": {"value_bytes": 500, "value_nodes": 100, "value_depth": 5},
}


def pythons():
    """This interpreter, and one of each other version."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = {sys.version_info[:2]: sys.executable}
    for path in sorted(root.glob("3.*/bin/python")):
        version = tuple(int(part) for part in path.parts[-3].split(".")[:2] if part.isdigit())
        if version >= (3, 8):
            found.setdefault(version, str(path))
    return [pytest.param(path, id=".".join(map(str, key))) for key, path in sorted(found.items())]


@pytest.fixture
def drive(tmp_path):
    for name, text in runtime_files().items():
        (tmp_path / "runtime" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runtime" / name).write_text(text)
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "library.py").write_text(LIBRARY)

    def run(body, python=sys.executable, **settings):
        (tmp_path / "driver.py").write_text(DRIVER + body)
        line = [python, "driver.py", json.dumps({**SETTINGS, **settings})]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        streams = [read_stream(path.read_bytes()) for path in (tmp_path / "out").glob("stream-*")]
        return done, sorted(streams, key=lambda stream: -len(stream.cuts))

    return run


def shown(cut):
    return [fields[0] + " " + " ".join(fields[2:]) for fields in cut.records if fields[0] != "k"]


def names(stream):
    return [cut.about["function"] for cut in stream.cuts]


EVERYTHING = """\
recorder.start("test")
library.total(2, 5, key=3, z=1)
counter = library.Counter(2)
each = counter.each()
next(each)
library.hot(1)
list(each)
try:
    counter.fail()
except ValueError:
    pass
coroutine = library.coroutine(3)
coroutine.send(None)
try:
    coroutine.send(None)
except StopIteration:
    pass
thread = threading.Thread(target=library.hot, args=(7,))
thread.start()
thread.join()
recorder.stop()
library.hot(9)
"""


@pytest.mark.parametrize("python", pythons())
def test_every_python_records_the_same(drive, python):
    done, (stream,) = drive(EVERYTHING, python)
    assert done.stderr == "" and done.returncode == 0
    cuts = {}
    for cut in stream.cuts:
        cuts.setdefault(cut.about["function"], []).append(cut)
    assert [cut.about["function"] for cut in stream.cuts] == [
        "decorated.<locals>.inner",
        "Counter.__init__",
        "Counter.each",
        "hot",
        "Counter.fail",
        "coroutine",
        "hot",
    ]
    (inner,) = cuts["decorated.<locals>.inner"]
    assert shown(inner)[:4] == [
        "c 7 0 0 a (2, 5) k {'key': 3, 'z': 1} f <function total>",
        "l 8",
        "c 19 1 1 n 2 key 3 rest (5,) more {'z': 1}",
        "l 20",
    ]
    assert shown(inner).count("l 22 i 1") == 1  # a statement over three lines is one step
    assert sum(event.startswith("c 13 2") for event in shown(inner)) == 3
    assert inner.about["positional"] == [] and inner.about["variable"] == "a"
    assert shown(cuts["Counter.each"][0]) == [
        "c 33 0 0 self Counter(x=2)",
        "l 34",
        "l 35 i 0",
        "y 35 0",
        "s 35 0 0",
        "l 34",
        "l 35 i 1",
        "y 35 1",
        "s 35 0 0",
        "l 34",
        "r 34 None",
    ]
    assert cuts["Counter.fail"][0].end["outcome"] == "raised"
    assert cuts["Counter.fail"][0].end["reason"] == "ValueError('no')"
    assert [event[0] for event in shown(cuts["coroutine"][0])][:8] == list("clclyyss")
    assert shown(cuts["hot"][1])[0] == "c 54 0 0 n 7"
    assert all(cut.end["outcome"] in ("returned", "raised") for cut in stream.cuts)


def test_the_runtime_is_standard_library_and_parses_as_python_38():
    for name, text in runtime_files().items():
        tree = ast.parse(text, name, feature_version=(3, 8))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                tops = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                tops = [node.module.partition(".")[0]]
            else:
                continue
            allowed = {*sys.stdlib_module_names, PACKAGE}
            assert set(tops) <= allowed | ({"pytest"} if name.endswith("plugin.py") else set())


def test_a_hot_function_leaves_a_sample_of_all_its_calls(drive):
    body = """\
recorder.start("test")
for number in range(2000):
    library.hot(number)
recorder.stop()
"""
    _, (stream,) = drive(body, quota=4)
    assert len(stream.cuts) == 12  # three times the quota, however many calls
    assert {cut.about["slot"] for cut in stream.cuts} == {0, 1, 2, 3}
    arguments = [int(cut.records[1][6]) for cut in stream.cuts]
    assert arguments[:4] == [0, 1, 2, 3] and max(arguments) > 20


def test_depth_chance_and_budgets(drive):
    body = 'recorder.start("test"); library.total(3, 1); library.total(9); recorder.stop()\n'
    _, (shallow,) = drive(body, depth=0)
    assert all(
        fields[3] == "0" for cut in shallow.cuts for fields in cut.records if fields[0] == "c"
    )


def test_calls_are_stepped_over_by_chance(drive):
    body = 'recorder.start("test")\nfor _ in range(20): library.total(9)\nrecorder.stop()\n'
    _, (stream,) = drive(body, step_in=0.5, quota=20)
    depths = [[f[3] for f in cut.records if f[0] == "c"] for cut in stream.cuts]
    stepped_in = sum(depth.count("2") for depth in depths)
    assert 0 < stepped_in < 20 * 9 and any(depth == ["0"] for depth in depths)


def test_a_long_call_is_cut_off_and_the_test_goes_on(drive):
    body = 'recorder.start("test")\nprint(library.total(300))\nrecorder.stop()\n'
    done, (stream,) = drive(body, events=50)
    assert done.stdout == "(89700, [])\n"
    assert stream.cuts[0].end["outcome"] == "step_limit"
    assert stream.cuts[0].end["events"] == 50


def test_recording_ends_when_nothing_new_comes(drive):
    body = """\
recorder.start("test")
for number in range(300):
    library.hot(number)
print(sys.gettrace())
recorder.stop()
recorder.start("another")
print(sys.gettrace() is not None)
recorder.stop()
"""
    done, (stream,) = drive(body, quota=1, patience=100)
    assert done.stdout == "None\nTrue\n"
    assert stream.notes == []


def test_the_budget_of_a_process(drive):
    body = """\
for test in range(50):
    recorder.start(str(test))
    library.hot(test)
    recorder.stop()
"""
    _, (stream,) = drive(body, quota=100, process_events=30)
    assert len(stream.cuts) == 10  # three events each


def test_an_exit_loses_no_finished_trace(drive):
    body = """\
recorder.start("test")
library.hot(1)
library.total(2, key=os._exit)
library.decorated(os._exit)(3)
"""
    done, (stream,) = drive(body)
    assert done.returncode == 3
    assert [cut.end is not None for cut in stream.cuts] == [True, True, True, False]
    assert names(stream)[-1] == "decorated.<locals>.inner"


def test_a_child_writes_to_its_own_file(drive):
    body = """\
recorder.start("test")
library.hot(1)
def child():
    if os.fork() == 0:
        library.double(5)
        os._exit(0)
    os.wait()
library.decorated(child)()
library.double(6)
recorder.stop()
"""
    done, (parent, child) = drive(body, step_in=0.0)
    assert done.stderr == ""
    assert names(parent) == ["hot", "decorated", "decorated.<locals>.inner", "double"]
    assert names(child) == ["double"]
    assert all(cut.end["outcome"] == "returned" for cut in parent.cuts + child.cuts)


def test_a_foreign_trace_function_is_left_alone(drive):
    body = """\
def other(frame, event, arg):
    pass
sys.settrace(other)
recorder.start("test")
library.hot(1)
recorder.stop()
print(sys.gettrace() is other)
sys.settrace(None)
recorder.start("next")
library.hot(2)
sys.settrace(None)
library.hot(3)
recorder.stop()
"""
    done, (stream,) = drive(body)
    assert done.stdout == "True\n"
    assert [note["note"] for note in stream.notes] == [
        "another trace function is active",
        "a test changed the trace function",
    ]
    assert stream.notes[0]["name"] == "__main__.other"
    assert [cut.about["test"] for cut in stream.cuts] == ["next"]


def test_taking_the_trace_function_away_inside_a_call(drive):
    body = """\
recorder.start("test")
library.decorated(lambda: sys.settrace(None))()
recorder.stop()
"""
    _, (stream,) = drive(body)
    assert stream.cuts[-1].end["outcome"] == "tracer_lost"


def test_an_exception_from_a_signal_handler_reaches_the_program(drive):
    body = """\
import signal
class Alarm(BaseException): pass  # as the outcomes of pytest are
def ring(*_): raise Alarm
signal.signal(signal.SIGALRM, ring)
caught = 0
for _ in range(20):
    recorder.start("test")
    signal.setitimer(signal.ITIMER_REAL, 0.003)
    try:
        while True:
            library.total(50, 1)
    except Alarm:
        caught += 1
    recorder.stop()
print(caught)
"""
    done, _ = drive(body, quota=1000, test_events=10**9, process_events=10**9)
    assert done.stdout == "20\n" and done.stderr == ""


def test_deep_recursion_is_the_programs_own_error(drive):
    body = """\
def endless(n):
    return endless(n + 1)
sys.modules["library"].endless = endless
recorder.start("test")
for depth in range(3):
    try:
        library.decorated(endless)(0)
    except RecursionError:
        print("deep")
recorder.stop()
"""
    done, _ = drive(body)
    assert done.stdout == "deep\n" * 3 and done.stderr == ""


@given(st.data())
def test_a_torn_file_loses_only_its_end(data):
    from cwm_tracer.collect.repository.runtime.sink import CHUNK

    def chunk(number, text):
        return CHUNK.pack(number, len(text)) + text.encode()

    def trace(number):
        about = "m\x1f" + json.dumps({"test": str(number)}) + "\x1e"
        events = "c\x1f1\x1f2\x1f0\x1f0\x1el\x1f1\x1f3\x1e"
        end = "x\x1f" + json.dumps({"outcome": "returned"}) + "\x1e"
        return [chunk(number, about), chunk(number, events + end)]

    whole = b"".join(part for number in (1, 2, 3) for part in trace(number))
    cut = data.draw(st.integers(0, len(whole)))
    stream = read_stream(whole[:cut] + data.draw(st.binary(max_size=30)))
    finished = [c for c in stream.cuts if c.end]
    assert len(finished) >= (cut * 3) // len(whole) - 1
    assert all(len(c.records) == 2 for c in finished)
