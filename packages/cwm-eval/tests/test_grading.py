"""The grader: verdicts, limits, isolation between jobs, and independence of concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from cwm_core.sandbox.base import SandboxError
from cwm_eval.grading.config import Grading
from cwm_eval.grading.pool import Grader, Tests, Verdict


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(Grading(workers=1, cpu_s=5)) as built:
        try:
            built.run_sync("", "")
        except SandboxError as error:
            pytest.skip(f"no sandbox here: {error}")
        yield built


def check(grader: Grader, code: str, source: str, **more: Any) -> Verdict:
    return grader.check_sync(code, Tests(source, entry="f", **more))


ADD = "def f(a, b):\n    return a + b\n"


def test_right_and_wrong(grader: Grader) -> None:
    assert check(grader, ADD, "assert candidate(1, 2) == 3").passed
    wrong = check(grader, ADD, "assert candidate(1, 2) == 4")
    assert (wrong.outcome, wrong.passed) == ("wrong_answer", False)


@pytest.mark.parametrize(
    "value",
    [
        "[1, (2.5, {'a': {3}}), frozenset({4}), b'x', None, True, 1 + 2j]",
        "10 ** 5000",
        "float('inf')",
        "-0.0",
        "'\\ud800 \\x00'",
        "{(1, 2): [3], 'k': {}}",
        "__import__('collections').Counter('aab')",
        "__import__('fractions').Fraction(1, 3)",
        "__import__('decimal').Decimal('1.10')",
        "bytearray(b'ab')",
        "int",
    ],
)
def test_values_cross_both_ways(grader: Grader, value: str) -> None:
    tests = f"value = {value}\nassert candidate(value, 0) == value\nassert candidate(value, 1)"
    assert check(grader, f"def f(v, own):\n    return v == ({value}) if own else v\n", tests).passed


def test_exceptions_of_the_solution(grader: Grader) -> None:
    code = "def f(n):\n    raise ValueError(n)\n"
    handled = "try:\n    candidate(1)\nexcept ValueError:\n    pass\nelse:\n    assert False\n"
    assert check(grader, code, handled).outcome == "exception"
    assert check(grader, code, handled, may_raise=True).passed
    assert "ValueError: 1" in check(grader, code, "candidate(1)").detail
    assert check(grader, "def f(:", "candidate(1)").outcome == "exception"
    assert check(grader, "", "candidate(1)").outcome == "exception"


def test_objects_of_the_solution(grader: Grader) -> None:
    code = (
        "class Node:\n    def __init__(self, v):\n        self.v, self.left = v, None\n"
        "def depth(n):\n    return 0 if n is None else 1 + depth(n.left)\n"
        "def pair():\n    return Node(7)\n"
    )
    tests = "root = Node(1)\nroot.left = Node(2)\nassert depth(root) == 2\nassert pair().v == 7\n"
    names = ("Node", "depth", "pair")
    assert grader.check_sync(code, Tests(tests, names=names)).passed
    compared = "assert pair() == pair()"
    assert grader.check_sync(code, Tests(compared, names=names)).outcome == "no_value"


def test_generators_are_read_to_their_end(grader: Grader) -> None:
    code = "def f(n):\n    yield from range(n)\n"
    assert check(grader, code, "assert list(candidate(3)) == [0, 1, 2]").passed
    assert not check(grader, code, "assert candidate(3) == [0, 1, 2]").passed


def test_tests_that_ask_nothing_pass_nobody(grader: Grader) -> None:
    assert check(grader, ADD, "assert True").outcome == "test_error"


def test_limits(grader: Grader) -> None:
    def ended(body: str) -> Verdict:
        return check(grader, f"def f():\n{body}", "assert candidate() == 1", cpu_s=1)

    assert ended("    while True: pass\n").outcome == "time"
    assert ended("    return len('x' * (4 << 30))\n").detail == "MemoryError: "
    assert ended("    return f()\n").outcome == "exception"
    deep = "    v = []\n    for _ in range(500): v = [v]\n    return v\n"
    assert ended(deep).outcome == "exception"
    assert ended("    return 'x' * (20 << 20)\n").outcome == "exception"


def test_a_solution_that_takes_long_to_end_ran_out_of_time(grader: Grader) -> None:
    """Its connection is closed long before the kernel has cleared its children away."""
    children = "        if os.fork() == 0:\n            v = bytearray(40 << 20); time.sleep(100)\n"
    code = f"import os, time\ndef f():\n    for _ in range(6):\n{children}    while True: pass\n"
    for _ in range(2):
        assert check(grader, code, "assert candidate() == 1", cpu_s=1).outcome == "time"


def test_a_solution_that_closes_its_connection_and_goes_on(grader: Grader) -> None:
    code = "import os, time\ndef f():\n    os.closerange(0, 99)\n    time.sleep(100)\n"
    assert check(grader, code, "assert candidate() == 1").outcome == "died"


def test_a_solution_that_sleeps_runs_out_of_time() -> None:
    with Grader(Grading(workers=1, wall_s=1.0)) as built:
        code = "import time\ndef f():\n    time.sleep(1000)\n"
        assert check(built, code, "candidate()").outcome == "time"


def test_programs(grader: Grader) -> None:
    echo = grader.run_sync("import sys\nprint(sys.stdin.read().upper())", "añ\n")
    assert (echo.stdout, echo.verdict.outcome) == ("AÑ\n\n".encode(), "passed")
    assert grader.run_sync("import sys; print(1); sys.exit(3)", "").verdict.detail == "exit code 3"
    assert grader.run_sync("1 / 0", "").verdict.outcome == "exception"
    assert grader.run_sync("while True: print('x' * 9999)", "").verdict.outcome == "output"
    assert grader.run_sync("while True: pass", "", cpu_s=1).verdict.outcome == "time"
    main = "if __name__ == '__main__':\n    print(__import__('__main__').__name__)"
    assert grader.run_sync(main, "").stdout == b"__main__\n"


LEAVE = """
import os, random, socket, tempfile, builtins, sys, math
def f():
    for directory in ("/tmp", "/dev/shm", "/workspace"):
        open(directory + "/left", "w").write("x")
    s = socket.socket(socket.AF_UNIX); s.bind("\\0left"); s.listen()
    if os.fork() == 0:
        os.setsid()
        import time; time.sleep(100)
    builtins.sum = math.floor = None
    return random.random()
"""
FIND = """
import os, random, socket, math
def f():
    found = [p for p in ("/tmp", "/dev/shm", "/workspace") if os.path.exists(p + "/left")]
    try:
        socket.socket(socket.AF_UNIX).connect("\\0left")
        found.append("socket")
    except OSError:
        pass
    alive = 0
    for pid in range(2, 300):
        try: os.kill(pid, 0); alive += 1
        except ProcessLookupError: pass
        except PermissionError: alive += 1
    return found, alive, sum([1, 2]), math.floor(1.5), random.random()
"""


def test_nothing_is_left_for_the_next_solution(grader: Grader) -> None:
    first = check(grader, LEAVE, "assert 0, candidate()")
    told = check(grader, FIND, "assert 0, candidate()").detail
    assert told == f"([], 0, 3, 1, {first.detail})"


PROGRAMS = [
    (ADD, "assert candidate(1, 2) == 3"),
    (ADD, "assert candidate(1, 2) == 4"),
    ("def f(a, b):\n    raise KeyError(a)\n", "candidate(1, 2)"),
    ("import random\ndef f(a, b):\n    return random.random()\n", "assert candidate(1, 2) < 0.5"),
    ("def f(a, b):\n    return ''.join({'x', 'yz', 'w'})\n", "assert candidate(1, 2) < 'x'"),
    ("import os\nos._exit(0)\n", "candidate(1, 2)"),
]


def test_verdicts_are_the_same_under_any_concurrency(grader: Grader) -> None:
    jobs = [PROGRAMS[i % len(PROGRAMS)] for i in range(60)]
    alone = [check(grader, code, tests) for code, tests in PROGRAMS]

    async def all_of_them(workers: int) -> list[Verdict]:
        with Grader(Grading(workers=workers)) as many:
            return await asyncio.gather(*(many.check(c, Tests(t, entry="f")) for c, t in jobs))

    for workers in (1, 4):
        found = asyncio.run(all_of_them(workers))
        assert [(v.outcome, v.detail) for v in found] == [(v.outcome, v.detail) for v in alone] * 10


def test_a_killed_sandbox_is_replaced(grader: Grader) -> None:
    pair = grader._all[0]
    assert check(grader, ADD, "assert candidate(1, 2) == 3").passed
    assert pair._guests is not None
    pair._guests._process.kill()
    assert check(grader, ADD, "assert candidate(1, 2) == 3").passed


def test_judges_are_renewed_and_do_not_share_names(grader: Grader) -> None:
    assert check(grader, ADD, "leak = candidate(1, 2)\nassert leak == 3").passed
    assert "leak" in check(grader, ADD, "candidate(1, 2)\nleak").detail
    hung = check(grader, ADD, "candidate(1, 2)\nimport os\nos._exit(1)")
    assert hung.outcome == "died"
    assert check(grader, ADD, "assert candidate(1, 2) == 3").passed
