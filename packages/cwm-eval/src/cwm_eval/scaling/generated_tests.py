"""Tests that a model writes: how it is asked, and what is taken from its text or from a file."""

from __future__ import annotations

import ast
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cwm_core.env.environment import Task
from cwm_core.errors import DataError
from cwm_eval.benchmarks import answers
from cwm_eval.benchmarks.graded_code import ProgramEnvironment, ProgramTest
from cwm_eval.benchmarks.rows import read_rows
from cwm_eval.benchmarks.shown_tests import is_plain

MOST = 40
"""Tests of a problem, as many as the CWM report generates."""
_BEGIN = """\
Here is a programming problem.

{statement}

Do not solve it. Write {count} tests that every right solution passes and that a wrong one is \
likely to fail: ordinary cases, edge cases, large ones. """
_ASSERTIONS = """\
Each test is one line of the form `assert {entry}(...) == ...`. Answer with one markdown code \
block that holds these lines and nothing else.
"""
_CASES = """\
For each test write two markdown code blocks, labelled input and output:
```input
{given}
```
```output
{wanted}
```
"""
_STREAMS = ("what the program reads", "what it prints")
_VALUES = ("each argument as JSON, on a line of its own", "the returned value as JSON")


def request(environment: ProgramEnvironment, task: Task, count: int) -> str:
    """Return the question that asks a model for tests of a problem."""
    begin = _BEGIN.format(statement=environment.statement(task), count=count)
    if not environment.has_cases:
        return begin + _ASSERTIONS.format(entry=environment.entry(task))
    given, wanted = _VALUES if environment.entry(task) else _STREAMS
    return begin + _CASES.format(given=given, wanted=wanted)


def read_tests(environment: ProgramEnvironment, task: Task, text: str) -> list[ProgramTest]:
    """Return the usable tests of a model's text, each once, in order."""
    entry = environment.entry(task)
    if environment.has_cases:
        found = [case_test(*pair, bool(entry)) for pair in _pairs(text)]
        return unique([test for test in found if test is not None])
    return [ProgramTest(line) for line in assertions(text, entry)]


def unique(tests: Iterable[ProgramTest], most: int = MOST) -> list[ProgramTest]:
    """Return the first `most` different tests."""
    return list({test.name: test for test in tests}.values())[:most]


def assertions(text: str, entry: str, most: int = MOST) -> list[str]:
    """Return the plain assertions about `entry` in a model's text, each once, in order."""
    found: dict[str, None] = {}
    for block in answers.code_blocks(text) or [text]:
        for line in _asserted(block):
            if is_plain(line, entry):
                found[line] = None
    return list(found)[:most]


def _asserted(block: str) -> list[str]:
    """Return the assertions of valid Python, else the lines that look like some."""
    try:
        nodes = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Assert)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [line for each in block.splitlines() if (line := each.strip()).startswith("assert ")]
    nodes.sort(key=lambda node: node.lineno)
    return [f"assert {ast.unparse(node.test)}" for node in nodes]


def _pairs(text: str) -> list[tuple[str, str]]:
    blocks = answers.labelled_blocks(text)
    return [
        (first, second)
        for (label, first), (next_label, second) in itertools.pairwise(blocks)
        if (label, next_label) == ("input", "output")
    ]


def case_test(given: str, wanted: str, of_function: bool) -> ProgramTest | None:
    """Return a case of a contest; None where a function's values are no JSON."""
    if of_function:
        try:
            for line in [*filter(str.strip, given.split("\n")), wanted]:
                json.loads(line)
        except (ValueError, RecursionError):
            return None
    kind = "functional" if of_function else "stdin"
    case = {"input": given, "output": wanted, "testtype": kind}
    return ProgramTest(json.dumps([given, wanted]), case)


def read_file(
    path: Path, environment: ProgramEnvironment, tasks: Sequence[Task]
) -> dict[str, list[ProgramTest]]:
    """Return the tests of a file by problem: JSON lines with ``task_id`` and ``tests``.

    A test is an assertion, or ``{"input", "output"}`` for problems with cases. Raises `DataError`
    for damage, for a test that cannot be used, and where no problem is one of `tasks`.
    """
    known = {task.id: task for task in tasks}
    found: dict[str, list[ProgramTest]] = {}
    for number, row in enumerate(read_rows(str(path), {"tests": list}), start=1):
        name = next((row[key] for key in ("task_id", "question_id", "id") if key in row), None)
        if name is None:
            raise DataError(f"{path}, row {number}, names no problem", _HINT)
        if (task := known.get(str(name))) is None:
            continue
        where = f"{path}, row {number} ({name})"
        tests = [_given(environment, task, test, where) for test in row["tests"]]
        found[task.id] = unique([*found.get(task.id, ()), *tests])
    if not found:
        raise DataError(f"{path} has no tests of a problem of the run", _HINT)
    return found


def _given(environment: ProgramEnvironment, task: Task, test: Any, where: str) -> ProgramTest:
    entry = environment.entry(task)
    made: ProgramTest | None = None
    if isinstance(test, dict) and environment.has_cases:
        given, wanted = test.get("input"), test.get("output")
        if isinstance(given, str) and isinstance(wanted, str):
            made = case_test(given, wanted, bool(entry))
    elif isinstance(test, str) and not environment.has_cases and is_plain(test.strip(), entry):
        made = ProgramTest(test.strip())
    if made is None:
        wanted_form = '{"input": ..., "output": ...}' if environment.has_cases else "an assertion"
        about = "" if environment.has_cases else f" that only calls {entry} and builtins"
        raise DataError(f"{where}: {json.dumps(test)[:120]} cannot be used", wanted_form + about)
    return made


_HINT = 'a line is {"task_id": ..., "tests": ["assert f(1) == 2", ...]}'
