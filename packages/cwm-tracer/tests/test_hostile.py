"""Whatever a program does, it ends as a record with a stated outcome, and the next one runs."""

# ruff: noqa: E501 (programs on one line)

import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.data.records import Outcome
from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.decode import decode
from cwm_tracer.capture.limits import Limits
from cwm_tracer.capture.values import elided
from cwm_tracer.programs.program import Program

LIMITS = Limits(timeout_s=20, memory_bytes=256 << 20, output_bytes=64 << 10)
IMPATIENT = LIMITS.model_copy(update={"timeout_s": 0.7})


@pytest.fixture(scope="module")
def patient():
    with SettraceConfig().build(LIMITS) as tracer:
        yield tracer


@pytest.fixture(scope="module")
def impatient():
    with SettraceConfig().build(IMPATIENT) as tracer:
        yield tracer


def run(tracer, source, input="", entry="f"):
    return tracer.record(Program("p", source, entry, (input,)), input)


def still_works(tracer):
    found = run(tracer, "def f(x):\n    return x\n", "7")
    assert (found.outcome, found.frames[-1].value) == (Outcome.RETURNED, "7")


ENDINGS = {
    "syntax error": ("def f(:\n", "", "syntax_error", "line 1", 0),
    "null byte": ("def f(): return 1\0\n", "", "syntax_error", "null", 0),
    "deep source": (f"x = {'(' * 999}1{')' * 999}\n", "", "syntax_error", "parenthes", 0),
    "exception at import": ("1 / 0\n", "", "load_error", "ZeroDivisionError", 0),
    "exit at import": ("import sys\nsys.exit(3)\n", "", "load_error", "SystemExit(3)", 0),
    "missing entry": ("def g(): pass\n", "", "load_error", "no 'f'", 0),
    "entry is no function": ("f = 3\n", "", "load_error", "not callable", 0),
    "input is no argument list": ("def f(x): pass\n", "1,,", "load_error", "argument list", 0),
    "input raises": ("def f(x): pass\n", "1 / 0", "load_error", "division", 0),
    "input does not fit": ("def f(x): pass\n", "1, 2", "raised", "TypeError", 0),
    "endless loop": ("def f():\n    while True:\n        x = 1\n", "", "step_limit", "10000", 10_000),
    "endless recursion": ("def f(n=0):\n    return f(n + 1)\n", "", "depth_limit", "500", 1000),
    "prints a gigabyte": (
        "def f():\n    for _ in range(10**6):\n        print('x' * 1000)\n",
        "", "output_limit", "65536", 100,
    ),
    "writes a gigabyte": (
        "import os\ndef f():\n    while True:\n        os.write(1, b'x' * 1000)\n",
        "", "output_limit", "65536", 100,
    ),
    "os._exit": ("import os\ndef f():\n    x = 1\n    os._exit(3)\n", "", "exited", "code 3", 3),
    "sys.exit": ("import sys\ndef f():\n    sys.exit(3)\n", "", "raised", "SystemExit(3)", 4),
    "fork": ("import os\ndef f():\n    x = os.fork()\n    return 1\n", "", "forked", "fork", 4),
    "fork bomb": ("import os\ndef f():\n    while True:\n        os.fork()\n", "", "forked", "fork", 3),
    "fork bomb at import": ("import os\nwhile True:\n    os.fork()\n", "", "forked", "fork", 0),
    "million elements": ("def f():\n    return list(range(10**6))\n", "", "returned", "", 3),
    "repr raises": (
        "class A:\n    def __repr__(self):\n        raise ValueError\ndef f():\n    return A()\n",
        "", "returned", "", 3,
    ),
    "tracing is switched off": (
        "import sys\ndef f():\n    x = 1\n    sys.settrace(None)\n    y = 2\n    return y\n",
        "", "tracer_lost", "trace function", 3,
    ),
    "closes everything": (
        "import os, sys\ndef f():\n    sys.stdout.close()\n    os.closerange(0, 1000)\n    return 2\n",
        "", "returned", "", 5,
    ),
    "memory hog": (
        "def f():\n    x = []\n    while True:\n        x.append(bytearray(10**7))\n",
        "", "memory_limit", "", 4,
    ),
    "too large a list": ("def f():\n    return [0] * 10**10\n", "", "memory_limit", "", 3),
    "segmentation fault": (
        "import ctypes\ndef f():\n    x = 1\n    ctypes.string_at(0)\n", "", "crashed", "SIGSEGV", 3,
    ),
    "kills itself": (
        "import os\ndef f():\n    x = 1\n    os.kill(os.getpid(), 9)\n", "", "crashed", "SIGKILL", 3,
    ),
    "kills its parent": (
        "import os, time\ndef f():\n    os.kill(os.getppid(), 9)\n    time.sleep(60)\n",
        "", "crashed", "killed", 2,
    ),
    "leaves threads": (
        "import threading, time\ndef f():\n"
        "    threading.Thread(target=time.sleep, args=(600,)).start()\n    return 1\n",
        "", "returned", "", 3,
    ),
    "reads from standard input": ("def f():\n    return input()\n", "", "raised", "EOFError", 4),
    "a bomb of commands": (
        "import subprocess\ndef f():\n    while True:\n        subprocess.Popen(['sleep', '600'])\n",
        "", "raised", "too many processes", 4,
    ),
    "a bomb of shells": (
        "import os\ndef f():\n    while True:\n        os.system('sleep 600 &')\n",
        "", "raised", "too many processes", 4,
    ),
    "a bomb of threads": (
        "import threading, time\ndef f():\n    while True:\n"
        "        threading.Thread(target=time.sleep, args=(600,)).start()\n",
        "", "raised", "can't start new thread", 4,
    ),
    "threads that never end": (
        "import threading\ndef g():\n    while True:\n        x = 1\ndef f():\n"
        "    for _ in range(5):\n        threading.Thread(target=g).start()\n    g()\n",
        "", "step_limit", "10000", 10_000,
    ),
    "a thread that kills the process": (
        "import threading, os, time\ndef f():\n    threading.Thread(target=os._exit, args=(4,)).start()\n"
        "    time.sleep(600)\n",
        "", "exited", "code 4", 2,
    ),
    "a fork in a thread": (
        "import threading, os\ndef f():\n    t = threading.Thread(target=os.fork)\n    t.start()\n"
        "    t.join()\n    return 1\n",
        "", "forked", "fork", 3,
    ),
    "a shared list of 25 MB": (
        "def f():\n    x = [0]\n    for _ in range(22):\n        x = [x, x]\n    return x\n",
        "", "returned", "", 40,
    ),
    "a list that comes to share itself": (
        "def f():\n    x = [0, 1]\n    y = 0\n    for _ in range(60):\n        y = [y, y]\n"
        "    x[0] = y\n    x[1] = {1: y}\n    x.append((y, y))\n    return x\n",
        "", "returned", "", 100,
    ),
    "hash, eq and repr that raise": (
        "class A:\n    def __eq__(s, o): raise ValueError\n    def __hash__(s): raise ValueError\n"
        "    def __repr__(s): raise ValueError\ndef f():\n    a = A()\n    b = [a]\n    b[0] = A()\n"
        "    b.append(a)\n    c = (a, b)\n    return c\n",
        "", "returned", "", 8,
    ),
    "hash, eq and repr that block": (
        "class A:\n    def wait(*a):\n        while True: pass\n"
        "    __eq__ = __hash__ = __repr__ = __len__ = __iter__ = __getattr__ = wait\n"
        "def f():\n    a = A()\n    b = [a, 1]\n    b[1] = A()\n    b[0] = 3\n    return b\n",
        "", "returned", "", 6,
    ),
    "subclasses of builtins that lie": (
        "class L(list):\n    def bad(*a): raise ValueError\n"
        "    __len__ = __iter__ = __getitem__ = __eq__ = __repr__ = __class_getitem__ = bad\n"
        "class D(dict):\n    items = keys = values = __iter__ = __len__ = __getitem__ = L.bad\n"
        "class S(str):\n    __str__ = __repr__ = __len__ = L.bad\n"
        "class I(int):\n    __repr__ = __index__ = __int__ = __abs__ = L.bad\n"
        "def f():\n    a = L((1, 2))\n    b = D(a=1)\n    c = S('x')\n    d = I(3)\n    return [a, b, c, d]\n",
        "", "returned", "", 7,
    ),
    "a signal with a handler that raises": (
        "import signal\ndef h(*a): raise KeyError('late')\ndef f():\n    signal.signal(signal.SIGALRM, h)\n"
        "    signal.raise_signal(signal.SIGALRM)\n    return 1\n",
        "", "raised", "late", 6,
    ),
    "a signal without a handler": (
        "import signal, time\ndef f():\n    signal.setitimer(signal.ITIMER_REAL, 0.05)\n    time.sleep(600)\n",
        "", "crashed", "SIGALRM", 3,
    ),
    "terminates its group": (
        "import os, signal\ndef f():\n    os.killpg(0, signal.SIGTERM)\n", "", "crashed", "SIGTERM", 2,
    ),
    "abort": ("import os\ndef f():\n    os.abort()\n", "", "crashed", "SIGABRT", 2),
    "an invalid pointer": (
        "import ctypes\ndef f():\n    ctypes.memset(8, 1, 10**6)\n", "", "crashed", "SIGSEGV", 2,
    ),
    "deep nesting of values": (
        "def f():\n    x = []\n    for _ in range(3000):\n        x = [x]\n    return x\n", "", "returned", "", 6000,
    ),
    "a large file": (
        "def f():\n    with open('big', 'wb') as file:\n        file.write(b'x' * 10**7)\n",
        "", "raised", "OSError", 4,
    ),
    "closes all of its streams": (
        "import sys\ndef f():\n    sys.stdout.close()\n    sys.stderr.close()\n    sys.stdin.close()\n    print(1)\n",
        "", "raised", "closed file", 6,
    ),
    "no standard output at all": (
        "import sys\ndef f():\n    sys.stdout = sys.__stdout__ = None\n    print(1)\n    return 2\n",
        "", "returned", "", 5,
    ),
    "a standard output that raises": (
        "import sys\nclass O:\n    def write(s, t): raise KeyError(t)\ndef f():\n    sys.stdout = O()\n    print(1)\n",
        "", "raised", "KeyError('1')", 5,
    ),
    "a program that removes what it finds": (
        "import gc, sys\ndef f():\n    for name in list(sys.modules):\n        if name.startswith('cwm'):\n"
        "            del sys.modules[name]\n    gc.collect()\n    return 1\n",
        "", "returned", "", 5,
    ),
    "an exception that cannot be shown": (
        "class E(Exception):\n    args = property(lambda s: 1 / 0)\n    __str__ = __repr__ = lambda s: 1 / 0\n"
        "def f():\n    raise E(1)\n",
        "", "raised", "E(1)", 3,
    ),
    "a metaclass with a bad hash": (
        "class M(type):\n    def __hash__(c):\n        raise ValueError\n"
        "class A(metaclass=M): pass\ndef f():\n    a = [A()]\n    return a\n",
        "", "returned", "", 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDINGS)
def test_endings(patient, case):
    source, input, outcome, reason, frames = ENDINGS[case]
    found = run(patient, source, input)
    assert (found.outcome, reason in found.reason) == (outcome, True), found.reason
    assert len(found.frames) >= frames
    assert found.trace.complete == (outcome in ("returned", "raised"))
    assert len(found.stdout) <= LIMITS.output_bytes
    still_works(patient)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import time\ndef f():\n    x = 1\n    time.sleep(600)\n", "more than 0.7 s"),
        ("def f():\n    x = 1\n    return 9 ** 9 ** 9\n", "more than 0.7 s"),
        (
            "import signal, time\ndef f():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "    while True:\n        time.sleep(1)\n",
            "more than 0.7 s",
        ),
        ("while True: pass\n", "while the program was loaded"),
        (
            "import threading\nlock = threading.Lock()\ndef f():\n    with lock:\n"
            "        t = threading.Thread(target=lock.acquire)\n        t.start()\n        t.join()\n",
            "more than 0.7 s",
        ),
    ],
)
def test_what_takes_too_long_is_killed(impatient, source, reason):
    found = run(impatient, source)
    assert found.outcome == "timeout" and reason in found.reason
    still_works(impatient)


REPRS = {
    "blocks": ("while True: pass", "timeout", "more than 0.7 s"),
    "raises": ("raise ValueError", "returned", ""),
    "mutates": ("s.x.append(1); return str(len(s.x))", "returned", ""),
    "is no text": ("return 3", "returned", ""),
    "is long": ("return 'x' * 10**6", "returned", ""),
    "recurses": ("return repr(s)", "returned", ""),
    "exits": ("import os; os._exit(7)", "exited", "code 7"),
    "prints": ("print('here'); return 'A'", "returned", ""),
}


@pytest.mark.parametrize("case", REPRS)
def test_own_reprs_on_request(case):
    body, outcome, reason = REPRS[case]
    source = (
        "class A:\n    def __init__(s):\n        s.x = []\n"
        f"    def __repr__(s):\n        {body}\ndef f():\n    a = A()\n    b = [a]\n    return b\n"
    )
    limits = IMPATIENT if outcome == "timeout" else LIMITS
    with SettraceConfig(call_repr=True).build(limits) as tracer:
        found = run(tracer, source)
        assert (found.outcome, reason in found.reason) == (outcome, True), found.reason
        still_works(tracer)


def test_a_shared_list_costs_what_is_shown(patient):
    source, input, *_ = ENDINGS["a shared list of 25 MB"]
    found = run(patient, source, input)
    texts = [text for frame in found.frames for text in (frame.locals or {}).values()]
    assert max(map(len, texts)) < 20_000
    assert elided(found.frames[-1].value) > 0


def test_writing_elsewhere_is_no_end(patient, tmp_path):
    target = tmp_path / "outside"
    source = f"def f():\n    open({str(target)!r}, 'w').write('x')\n    open('../up', 'w').write('x')\n    return 1\n"
    assert run(patient, source).outcome == "returned"
    assert target.read_text() == "x"
    still_works(patient)


def test_a_descendant_in_a_session_of_its_own_is_killed(patient, tmp_path):
    mark = tmp_path / "pid"
    source = f"""
import os, time
def f():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            open({str(mark)!r} + ".new", "w").write(str(os.getpid()))
            os.rename({str(mark)!r} + ".new", {str(mark)!r})
            time.sleep(600)
        os._exit(0)
    while not os.path.exists({str(mark)!r}):
        time.sleep(0.01)
    return 1
"""
    found = run(patient, source)
    assert found.outcome == "forked"
    assert not Path(f"/proc/{mark.read_text()}").exists()


def test_an_orphan_of_a_killed_server_is_killed(patient, tmp_path):
    mark = tmp_path / "pid"
    source = f"""
import os, time
def f():
    server = os.getppid()
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(600)
    open({str(mark)!r}, "w").write(str(child))
    os.kill(server, 9)
    time.sleep(600)
"""
    assert run(patient, source).outcome == "crashed"
    _wait_for_the_end_of(int(mark.read_text()))
    still_works(patient)


def _wait_for_the_end_of(process):
    """Wait until a killed process is gone, or a zombie, for which nobody here can wait."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if stat.rpartition(")")[2].split()[0] in "ZX":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {process} is alive")


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = "import os\ndef f():\n    os.mkdir('a')\n    open('a/b', 'w').write('x')\n    return os.listdir()\n"
    with SettraceConfig().build(LIMITS) as tracer:
        assert run(tracer, source).frames[-1].value == "['a']"
        assert run(tracer, source).frames[-1].value == "['a']"
        server = tracer._process._server.pid
        killer = "import os, time\ndef f():\n    os.kill(os.getppid(), 9)\n    time.sleep(60)\n"
        assert run(tracer, killer).outcome == "crashed"
    assert list(tmp_path.iterdir()) == []
    assert not Path(f"/proc/{server}").exists()


def test_the_environment_is_cleared(patient, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with SettraceConfig().build(LIMITS) as tracer:
        found = run(tracer, "import os\ndef f():\n    return 'SECRET_TOKEN' in os.environ\n")
    assert found.frames[-1].value == "False"


def test_a_dead_server_is_replaced():
    with SettraceConfig().build(LIMITS) as tracer:
        still_works(tracer)
        os.kill(tracer._process._server.pid, 9)
        time.sleep(0.05)
        still_works(tracer)


def test_a_small_trace_budget_keeps_what_fits():
    limits = LIMITS.model_copy(update={"trace_bytes": 64 << 10})
    with SettraceConfig().build(limits) as tracer:
        found = run(tracer, "def f():\n    for i in range(900):\n        x = str(i) * 400\n")
    assert found.outcome == "value_limit"
    assert len(found.frames) > 20


@given(st.text(alphabet='kclsryeopdx0123456789-\x1e\x1f{}"', max_size=200))
def test_records_of_a_tampering_program_never_raise(records):
    recording = decode(records, "def f():\n    pass\n")
    assert len(recording.frames) <= records.count("\x1e") + 1
