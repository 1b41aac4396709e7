"""Tests of code: a sandbox shows what the code does, and here it is compared with what it should.

The code never sees an expected value, so it cannot report success without being right.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cwm_core.env.environment import Task
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError
from cwm_core.sandbox.base import Sandbox
from cwm_rl.rewards.config import UnitTestsConfig

_BLOCK = re.compile(r"```[^\n`]*\n(.*?)\n?```", re.DOTALL)
_START_S = 5.0
"""Seconds for the interpreter to start."""
_CALLER = """\
import io, json, os, sys
source, setup, calls = json.load(sys.stdin)
out = os.fdopen(os.dup(1), "w")
sys.stdin, sys.stdout, sys.stderr = io.StringIO(), io.StringIO(), io.StringIO()
names = {"__name__": "solution"}
try:
    exec(compile(setup, "setup", "exec"), names)
    exec(compile(source, "solution", "exec"), names)
except BaseException:
    calls = []
for call in calls:
    try:
        shown = repr(eval(call, dict(names)))
    except BaseException:
        shown = None
    out.write(json.dumps(shown) + "\\n")
    out.flush()
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A test: what to evaluate, and the expression that it must equal."""

    call: str
    value: str


@dataclass(frozen=True, slots=True)
class Program:
    """A test: what a program reads, and what it must print."""

    stdin: str
    stdout: str


@dataclass(frozen=True, slots=True)
class UnitTests:
    """The reward of `UnitTestsConfig`; DataError for tests that it cannot read."""

    config: UnitTestsConfig

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Run the tests on the code in the last action."""
        tests = read_tests(task, self.config.tests)
        code = extract_code(trajectory.final_text)
        if code is None:
            return self.config.wrong
        setup = str(task.data.get(self.config.setup) or "") if self.config.setup else ""
        sandbox: Any = await asyncio.to_thread(self.config.sandbox.build)
        try:
            passed = await self._passed(sandbox, code, setup, tests)
        finally:
            await sandbox.close()
        share = passed / len(tests)
        if self.config.share:
            return self.config.wrong + share * (self.config.right - self.config.wrong)
        return self.config.right if share == 1 else self.config.wrong

    async def _passed(
        self, sandbox: Sandbox, code: str, setup: str, tests: Sequence[Call | Program]
    ) -> int:
        calls = [test for test in tests if isinstance(test, Call)]
        programs = [test for test in tests if isinstance(test, Program)]
        passed = 0
        if calls:
            found = await self._evaluate(sandbox, code, setup, [test.call for test in calls])
            wanted = await self._evaluate(sandbox, "", setup, [test.value for test in calls])
            passed += sum(map(same_value, found, wanted))
        for test in programs:
            done = await sandbox.exec(
                ["python3", "-I", "-c", code], self.config.timeout_s, stdin=test.stdin.encode()
            )
            right = done.exit_code == 0 and done.text.split() == test.stdout.split()
            passed += right
        return passed

    async def _evaluate(
        self, sandbox: Sandbox, code: str, setup: str, calls: list[str]
    ) -> list[str | None]:
        """Return the ``repr`` of every call after the code has run, `None` where there is none."""
        done = await sandbox.exec(
            ["python3", "-I", "-c", _CALLER],
            _START_S + self.config.timeout_s * len(calls),
            stdin=json.dumps([code, setup, calls]).encode(),
        )
        shown: list[str | None] = [None] * len(calls)
        for index, line in enumerate(done.text.splitlines()[: len(calls)]):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            shown[index] = value if isinstance(value, str) else None
        return shown


def extract_code(text: str) -> str | None:
    """Return the one fenced block, or the whole text without any; `None` for several blocks."""
    blocks = _BLOCK.findall(text)
    if not blocks:
        return text
    return str(blocks[0]) if len(blocks) == 1 else None


def read_tests(task: Task, key: str) -> list[Call | Program]:
    """Return the tests of a task; DataError when there are none or one is of no known kind."""
    found = task.data.get(key)
    if not isinstance(found, list | tuple) or not found:
        raise DataError(
            f"task {task.id!r} has no list of tests under {key!r}",
            f"set the reward's tests to one of: {', '.join(sorted(task.data))}",
        )
    return [_test(each, task) for each in found]


def same_value(found: str | None, wanted: str | None) -> bool:
    """Whether two ``repr`` texts show equal values; those of no literal must be equal texts."""
    if found is None or wanted is None:
        return False
    try:
        return bool(ast.literal_eval(found) == ast.literal_eval(wanted))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return found == wanted


def _test(given: Any, task: Task) -> Call | Program:
    if isinstance(given, str):
        return _assertion(given, task)
    if isinstance(given, dict) and {"call", "value"} <= given.keys():
        return Call(str(given["call"]), str(given["value"]))
    if isinstance(given, dict) and {"stdin", "stdout"} <= given.keys():
        return Program(str(given["stdin"]), str(given["stdout"]))
    raise DataError(
        f"task {task.id!r} has a test of no known kind: {given!r:.200}",
        "give `assert CALL == VALUE`, or objects with call and value, or with stdin and stdout",
    )


def _assertion(text: str, task: Task) -> Call:
    try:
        (node,) = ast.parse(text.strip()).body
    except (SyntaxError, ValueError) as error:
        raise DataError(
            f"task {task.id!r} has a test that is no single statement: {text!r:.200}"
        ) from error
    test = node.test if isinstance(node, ast.Assert) else None
    if isinstance(test, ast.Compare) and [type(op) for op in test.ops] == [ast.Eq]:
        return Call(ast.unparse(test.left), ast.unparse(test.comparators[0]))
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return Call(f"bool({ast.unparse(test.operand)})", "False")
    if isinstance(test, ast.expr):
        return Call(f"bool({ast.unparse(test)})", "True")
    raise DataError(
        f"task {task.id!r} has a test that is no assertion: {text!r:.200}",
        "give `assert CALL == VALUE`",
    )
