"""Solutions that try to pass without solving anything: none may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cwm_core.sandbox.base import SandboxError
from cwm_eval.grading.config import Grading
from cwm_eval.grading.pool import Grader, Tests

TESTS = "SECRET = 4242\nassert candidate(20) == SECRET\nassert candidate([1, 2]) == 'two'\n"


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(Grading(workers=1, cpu_s=1, wall_s=3.0, output_bytes=1 << 20)) as built:
        try:
            built.run_sync("", "")
        except SandboxError as error:
            pytest.skip(f"no sandbox here: {error}")
        yield built


ATTACKS = {
    # Leaving early
    "sys.exit(0)": "import sys\ndef f(x): sys.exit(0)",
    "os._exit(0)": "import os\ndef f(x): os._exit(0)",
    "exit while loading": "import os\nos._exit(0)",
    "SystemExit while loading": "raise SystemExit(0)",
    "atexit": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(x): quit()",
    "kill itself": "import os\ndef f(x): os.kill(os.getpid(), 9); os.kill(0, 15); os.abort()",
    "segfault": "import ctypes\ndef f(x): ctypes.string_at(0)",
    "exit code of a failed confinement": "import os\nos._exit(70)",
    "exec another program": "import os\ndef f(x): os.execv('/bin/true', ['true'])",
    # Values that lie
    "__eq__": "class E:\n    def __eq__(s, o): return True\ndef f(x): return E()",
    "int with __eq__": "class E(int):\n    def __eq__(s, o): return True\ndef f(x): return E(1)",
    "str with __eq__": (
        "class E(str):\n    def __eq__(s, o): return True\n    __hash__ = str.__hash__\n"
        "def f(x): return E('no')"
    ),
    "list with __eq__": "class E(list):\n    def __eq__(s, o): return True\ndef f(x): return E()",
    "tuple with __iter__": (
        "class E(tuple):\n    def __iter__(s): return iter(())\n    def __eq__(s, o): return True\n"
        "def f(x): return E((1,))"
    ),
    "__class__ that lies": (
        "class E:\n    __class__ = int\n    def __eq__(s, o): return True\ndef f(x): return E()"
    ),
    "reflected comparison": (
        "class E(int):\n    def __req__(s, o): return True\n    def __ne__(s, o): return False\n"
        "    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\ndef f(x): return E()"
    ),
    "metaclass": (
        "class M(type):\n    def __eq__(s, o): return True\n    __hash__ = type.__hash__\n"
        "class E(metaclass=M): pass\ndef f(x): return E"
    ),
    "NaN and mocks": "from unittest.mock import ANY\ndef f(x): return ANY",
    "object for a name": "class E:\n    def __eq__(s, o): return True\n    def __call__(s, x): "
    "return s\n    def __bool__(s): return True\nf = E()",
    # Patching what decides
    "patched builtins": (
        "import builtins\nbuiltins.AssertionError = None\nbuiltins.all = lambda x: True\n"
        "builtins.isinstance = lambda *a: True\nbuiltins.type = lambda x: int\n"
        "def f(x): return None"
    ),
    "patched json": (
        "import json\njson.dumps = lambda *a, **k: '[true,4242]'\ndef f(x): return None"
    ),
    "patched wire": (
        "import sys\nfor m in list(sys.modules.values()):\n"
        "    if hasattr(m, 'dumps'): m.dumps = lambda *a, **k: b'[true,true]'\n"
        "def f(x): return None"
    ),
    "patched time": "import time\ntime.time = time.monotonic = lambda: 0\ndef f(x): return x",
    "excepthook": "import sys\nsys.excepthook = lambda *a: None\ndef f(x): raise Exception",
    "assert rewriting": "import sys\nsys.flags = None\n__debug__ if False else None\ndef f(x): 0",
    # Looking for what is expected
    "frame inspection": (
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        for v in [*frame.f_locals.values(), *frame.f_globals.values()]:\n"
        "            if v == 4242 or v == 'two': return v\n        frame = frame.f_back"
    ),
    "garbage collector": (
        "import gc\ndef f(x):\n    for o in gc.get_objects():\n"
        "        if isinstance(o, dict) and 'SECRET' in o: return o['SECRET']\n"
    ),
    "strings in the interpreter": (
        "import sys, gc\ndef f(x):\n    hits = [o for o in gc.get_objects() if type(o) is str "
        "and 'SECRET' in o]\n    return 4242 if hits else None"
    ),
    "memory of the process": "def f(x):\n    return b'4242' in open('/proc/self/mem', 'rb').read()",
    "environment": "import os\ndef f(x): return os.environ['SECRET']",
    "other descriptors": (
        "import os, socket\ndef f(x):\n    for fd in range(3, 64):\n        try:\n"
        "            s = socket.socket(fileno=fd); s.settimeout(0.05); s.recv(10000)\n"
        "            s.send(b'\\0\\0\\0\\7[true,1]')\n        except OSError: pass\n"
    ),
    "files of the grader": (
        "import os\ndef f(x):\n    for d, _, files in os.walk('/grading'):\n"
        "        for n in files:\n"
        "            if 'SECRET' in open(d + '/' + n).read(): return 4242\n"
    ),
    "tests on disk": "import glob\ndef f(x): return glob.glob('/*/test*')",
    # Forging
    "forged verdict": (
        "import os, json\ndef f(x):\n    body = json.dumps({'d': [['outcome', 'passed'], "
        "['detail', ''], ['answers', 2]]}).encode()\n"
        "    frame = len(body).to_bytes(4, 'big') + body\n"
        "    for fd in range(64):\n        try: os.write(fd, frame)\n        except OSError: pass"
    ),
    "forged answers ahead": (
        "import os\ndef f(x):\n    frame = lambda b: len(b).to_bytes(4, 'big') + b\n"
        "    for fd in range(3, 64):\n        try: os.write(fd, frame(b'[true,true]') * 9)\n"
        "        except OSError: pass"
    ),
    "forged reference": (
        "import os\nclass E:\n    def __eq__(s, o): return True\ndef f(x):\n"
        '    b = b\'[true,{"r":[0,"int"]}]\'\n    for fd in range(3, 64):\n'
        "        try: os.write(fd, len(b).to_bytes(4, 'big') + b)\n        except OSError: pass"
    ),
    "huge frame": (
        "import os\ndef f(x):\n    for fd in range(3, 64):\n"
        "        try: os.write(fd, b'\\xff\\xff\\xff\\xff' + b'x' * 4096)\n"
        "        except OSError: pass"
    ),
    "nested frame": (
        "import os\nb = b'[' * 100000\ndef f(x):\n    for fd in range(3, 64):\n"
        "        try: os.write(fd, len(b).to_bytes(4, 'big') + b)\n        except OSError: pass"
    ),
    "printed marker": "print('PASSED', flush=True)\nprint('outcome: passed')\ndef f(x): return 1",
    "pickle": (
        "import pickle\nclass E:\n    def __reduce__(s): return (eval, ('4242',))\n"
        "def f(x): return pickle.dumps(E())"
    ),
    # Steering the tests
    "StopIteration": "def f(x): raise StopIteration",
    "AssertionError": "def f(x): raise AssertionError",
    "own exception": "class E(BaseException): pass\ndef f(x): raise E",
    "KeyboardInterrupt": "def f(x): raise KeyboardInterrupt",
    "exception with a bad str": (
        "class E(Exception):\n    def __str__(s): raise SystemExit\ndef f(x): raise E"
    ),
    # Outlasting
    "endless loop": "def f(x):\n    while True: pass",
    "swallowing loop": (
        "def f(x):\n    while True:\n        try:\n            while True: pass\n"
        "        except BaseException: pass"
    ),
    "ignored signals": (
        "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nsignal.alarm(0)\ndef f(x):\n    while True: pass"
    ),
    "stopped": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP)",
    "threads": (
        "import threading, os, time\ndef later():\n    time.sleep(0.1); os._exit(0)\n"
        "threading.Thread(target=later, daemon=True).start()\n"
        "def f(x):\n    time.sleep(1); return 1"
    ),
    "thread bomb": (
        "import threading, time\ndef f(x):\n    for _ in range(10000):\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    ),
    "fork bomb": "import os\ndef f(x):\n    while True: os.fork()",
    "child that holds the connection": (
        "import os, time\ndef f(x):\n    if os.fork() == 0:\n        os.setsid(); time.sleep(60)\n"
        "    os._exit(0)"
    ),
    "memory": "def f(x):\n    v = []\n    while True: v.append(bytearray(1 << 24))",
    "mmap": (
        "import mmap\ndef f(x):\n    keep = [mmap.mmap(-1, 1 << 28) for _ in range(100)]\n"
        "    return 4242"
    ),
    "shared memory": (
        "def f(x):\n    with open('/dev/shm/x', 'wb') as file:\n"
        "        while True: file.write(b'x' * (1 << 20))"
    ),
    "inodes": "def f(x):\n    for i in range(10 ** 6): open(f'/tmp/{i}', 'w').close()",
    "descriptors": "def f(x):\n    k = [open('/dev/null') for _ in range(9 ** 6)]\n    return 4242",
    "huge number": "def f(x): return 10 ** 10 ** 8",
    "huge string": "def f(x): return 'x' * (64 << 20)",
    "regular expression": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 64 + 'b')",
    "deep recursion": ("import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return f(x)"),
    "colliding hashes": "def f(x): return {i * (2 ** 61 - 1) for i in range(1, 200000)}",
    # Getting out
    "mount": (
        "import ctypes\ndef f(x): return 4242 if ctypes.CDLL(None).mount(b't', b'/tmp', b'tmpfs', "
        "0, None) == 0 else 0"
    ),
    "user namespace": (
        "import ctypes\ndef f(x): return 4242 if ctypes.CDLL(None).unshare(0x10000000) == 0 else 0"
    ),
    "become root": "import os\ndef f(x):\n    os.setuid(0); return 4242",
    "ptrace": (
        "import ctypes, os\ndef f(x): return 4242 if ctypes.CDLL(None).ptrace(16, os.getppid(), 0,"
        " 0) == 0 else 0"
    ),
    "kill the server": (
        "import os\ndef f(x):\n    for pid in (os.getppid(), *range(2, 400)):\n"
        "        try: os.kill(pid, 9)\n        except OSError: pass\n    os.kill(-1, 9)"
    ),
    "network": (
        "import socket\ndef f(x):\n    socket.create_connection(('169.254.169.254', 80), 1)\n"
        "    return 4242"
    ),
    "overwrite the grader": (
        "def f(x):\n    open('/grading/inside/judge.py', 'w').write('')\n    return 4242"
    ),
    "Docker's socket": (
        "import socket\ndef f(x):\n    socket.socket(socket.AF_UNIX).connect("
        "'/var/run/docker.sock')\n    return 4242"
    ),
    "terminal input": (
        "import fcntl, os\ndef f(x):\n    fcntl.ioctl(os.open('/dev/tty', 2), 0x5412, b'x')\n"
        "    return 4242"
    ),
}


def test_there_are_enough() -> None:
    assert len(ATTACKS) >= 40


@pytest.mark.parametrize("name", ATTACKS)
def test_it_does_not_pass(grader: Grader, name: str) -> None:
    code = ATTACKS[name].replace("return 4242", "return (4242 if x == 20 else 'two')")
    if "return (4242" in code and name in REACHED_ONLY_BY_BREAKING_OUT:
        assert not grader.check_sync(code, Tests(TESTS, entry="f")).passed, name
        return
    verdict = grader.check_sync(ATTACKS[name], Tests(TESTS, entry="f"))
    assert not verdict.passed, name
    assert grader.check_sync(HONEST, Tests(TESTS, entry="f")).passed, f"after {name}"


HONEST = "def f(x): return 4242 if x == 20 else 'two'"
REACHED_ONLY_BY_BREAKING_OUT = {
    "mmap",
    "mount",
    "user namespace",
    "become root",
    "ptrace",
    "network",
    "overwrite the grader",
    "Docker's socket",
    "terminal input",
    "descriptors",
    "strings in the interpreter",
    "files of the grader",
}

LOOPS = {
    "for over a map": "for got in map(candidate, [1, 2]):\n    assert got == 3\n",
    "all()": "assert all(candidate(i) == 3 for i in (1, 2))\n",
    "broad handler": "for i in (1, 2):\n    try:\n        assert candidate(i) == 3\n"
    "    except Exception:\n        pass\n",
    "bare truth": "assert candidate(1)\n",
    "negated": "assert not candidate(1)\n",
    "membership": "assert candidate(1) in [3, 4]\n",
    "inequality": "assert candidate(1) != 3\n",
    "order": "assert candidate(1) <= 3\n",
    "sorted": "assert sorted(candidate(1)) == [3]\n",
}
OBJECT = (
    "class E:\n    def __eq__(s, o): return True\n    def __ne__(s, o): return True\n"
    "    def __bool__(s): return True\n    def __lt__(s, o): return True\n    __le__ = __lt__\n"
    "    def __iter__(s): return iter([s])\n    def __len__(s): return 1\n"
    "    __hash__ = None\ndef f(x): return E()"
)


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("code", ["def f(x): raise StopIteration", OBJECT], ids=["stop", "object"])
def test_no_kind_of_test_is_fooled(grader: Grader, name: str, code: str) -> None:
    assert not grader.check_sync(code, Tests(LOOPS[name], entry="f")).passed


PRINTED = {
    "exits first": "import os\nos._exit(0)",
    "prints a marker": "print('PASSED')",
    "prints without end": "while True: print('x' * 4096)",
    "one endless line": "import sys\nwhile True: sys.stdout.write('x' * 4096)",
    "a child that prints later": "import os, time\nif os.fork() == 0:\n    time.sleep(1)\n"
    "    print(3)",
    "invalid UTF-8": "import os\nos.write(1, b'\\xff\\xfe3')",
}


@pytest.mark.parametrize("name", PRINTED)
def test_programs_print_nothing_right(grader: Grader, name: str) -> None:
    printed = grader.run_sync(PRINTED[name], "1 2")
    assert not printed.verdict.passed or printed.stdout.decode("utf-8", "replace").split() != ["3"]
