"""LiveCodeBench (Jain et al. 2024): contest problems, and what programs return."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwm_core.env.environment import Task
from cwm_core.errors import DataError
from cwm_eval.benchmarks import answers
from cwm_eval.benchmarks.cruxeval import mentions
from cwm_eval.benchmarks.graded_code import CodeEnvironment, ProgramEnvironment, ProgramTest, graded
from cwm_eval.benchmarks.questions import NO_ANSWER, WRONG, Grade, drawn, unique
from cwm_eval.benchmarks.rows import Row, read_json, read_rows
from cwm_eval.benchmarks.unpickling import packed_json
from cwm_eval.grading.pool import Printed, Tests, Verdict

if TYPE_CHECKING:
    from cwm_eval.benchmarks.config import LiveCodeBenchExecutionTasks, LiveCodeBenchTasks

FIELDS: dict[str, type | tuple[type, ...]] = {
    "question_title": str,
    "question_content": str,
    "platform": str,
    "question_id": str,
    "contest_id": str,
    "contest_date": (str, datetime),
    "starter_code": str,
    "difficulty": str,
    "public_test_cases": str,
    "private_test_cases": str,
    "metadata": str,
}
EXECUTION_FIELDS: dict[str, type | tuple[type, ...]] = {
    "question_id": str,
    "contest_date": (str, datetime),
    "difficulty": str,
    "function_name": str,
    "code": str,
    "input": str,
    "output": str,
    "id": str,
    "problem_id": str,
    "numsteps": int,
}
_INTRODUCTION = """\
You will be given a question (problem specification) and will generate a correct Python program \
that matches the specification and passes all tests.

### Question:
{content}

"""
_STARTER = """\
### Format: You will use the following starter code to write the solution to the problem and \
enclose your code within delimiters.
```python
{starter}
```

### Answer: (use the provided format with backticks)

"""
_STDIN = """\
### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not \
directly test on the sample inputs). Enclose your code within delimiters as follows. Ensure that \
when the python program runs, it reads the inputs, runs the algorithm and writes output to STDOUT.
```python
# YOUR CODE HERE
```

### Answer: (use the provided format with backticks)

"""
_STARS = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools "
    "operator io sys json typing builtins"
)
_MODULES = "string re datetime collections heapq bisect copy math random statistics itertools"
PREAMBLE = (
    "".join(f"from {name} import *\n" for name in _STARS.split())
    + "".join(f"import {name}\n" for name in f"{_MODULES} functools operator io sys json".split())
    + "sys.setrecursionlimit(50000)\n"
)
"""What the official harness puts in front of every solution."""


class LiveCodeBench(ProgramEnvironment):
    """Contest problems; every public and private test has to pass, each in a process of its own."""

    has_cases = True

    def __init__(self, config: LiveCodeBenchTasks, limit: int | None) -> None:
        rows = read_rows(config.data, FIELDS, config.split)
        kept = in_window(rows, config.start, config.end, config.data)
        for row in kept:  # private tests are unpacked when they are needed: they are large
            _tests(row, "public_test_cases", config.data)
            _function(row, config.data)
        tasks = unique((_task(row, config.split) for row in kept), config.data)
        super().__init__(
            drawn(tasks, config.bound(limit), config.seed),
            config.grading,
            reasoning=config.reasoning,
        )
        self._data, self._cpu_s = config.data, config.test_cpu_s
        self._gold = {} if config.solutions is None else read_submission(config.solutions)

    def prompt(self, task: Task) -> str:
        """Return the question of the official harness."""
        row = task.data
        if row["starter_code"].strip():
            form = _STARTER.format(starter=row["starter_code"])
        else:
            form = _STDIN
        return _INTRODUCTION.format(content=row["question_content"]) + form

    async def grade(self, task: Task, text: str) -> Grade:
        """Run the tests, up to the first that fails."""
        blocks = answers.code_blocks(text)
        if not blocks:
            return Grade(NO_ANSWER, detail="no code block")
        return await self.grade_code(task, blocks[-1])

    async def grade_code(self, task: Task, code: str) -> Grade:
        """Grade a program as it is."""
        public, private = cases(task.data, self._data)
        verdict, passed = Verdict("passed"), 0
        for case in (*public, *private):
            verdict = await self._try(task.data, code, case)
            if not verdict.passed:
                break
            passed += 1
        total = len(public) + len(private)
        scores = {"tests": passed / total, "public_tests": float(passed >= len(public))}
        return graded(verdict, code, scores=scores)

    async def _try(self, row: Mapping[str, Any], code: str, case: Mapping[str, Any]) -> Verdict:
        if case["testtype"] == "stdin":
            printed = await self.grader.run(PREAMBLE + code, case["input"], self._cpu_s)
            return judged_output(printed, case["output"])
        return await self.grader.check(PREAMBLE + code, self._call(row, code, case))

    def _call(self, row: Mapping[str, Any], code: str, case: Mapping[str, Any]) -> Tests:
        name = _function(row, self._data)
        in_class = answers.defines(code, "Solution")
        called = f"Solution().{name}" if in_class else name
        source = f"assert listed({called}(*data['arguments']), data['expected'])"
        try:
            arguments = [json.loads(line) for line in case["input"].split("\n") if line.strip()]
            expected = json.loads(case["output"])
        except ValueError as error:
            raise DataError(f"a test of {row['question_id']} is no JSON: {error}") from None
        if not name.isidentifier():
            raise DataError(f"the metadata of {row['question_id']} name no function")
        return Tests(
            source,
            names=("Solution",) if in_class else (name,),
            data={"arguments": arguments, "expected": expected},
            cpu_s=self._cpu_s,
        )

    def entry(self, task: Task) -> str:
        """Return the method that is asked for; empty where a program reads and prints."""
        return _function(task.data, self._data) if task.data["starter_code"].strip() else ""

    def statement(self, task: Task) -> str:
        """Return the problem and its starter code."""
        starter = task.data["starter_code"].strip()
        shown = f"\n\n```python\n{starter}\n```" if starter else ""
        return f"{task.data['question_content']}{shown}"

    def shown_tests(self, task: Task) -> list[ProgramTest]:
        """Return the public tests."""
        public, _ = cases(task.data, self._data)
        return [ProgramTest(json.dumps([c["input"], c["output"]]), c) for c in public]

    async def passes(self, task: Task, program: str, test: ProgramTest) -> Verdict:
        """Run one case on a program."""
        if test.case is None:
            return await super().passes(task, program, test)
        return await self._try(task.data, program, test.case)

    def runnable(self, program: str) -> str:
        """Return the program behind the imports of the official harness."""
        return PREAMBLE + program

    def gold(self, task: Task) -> str | None:
        """Return a solution of `solutions`; the data set itself publishes none."""
        code = self._gold.get(task.id)
        return None if not code else f"```python\n{code[0]}\n```"


class LiveCodeBenchExecution(CodeEnvironment):
    """Tell what a call of a contest solution returns."""

    def __init__(self, config: LiveCodeBenchExecutionTasks, limit: int | None) -> None:
        rows = read_rows(config.data, EXECUTION_FIELDS, config.split)
        kept = in_window(rows, config.start, config.end, config.data)
        tasks = unique((_execution_task(row, config.split) for row in kept), config.data)
        super().__init__(
            drawn(tasks, config.bound(limit), config.seed),
            config.grading,
            reasoning=config.reasoning,
        )

    def prompt(self, task: Task) -> str:
        """Return the question."""
        row = task.data
        how = "Execute the program step by step before arriving at an answer. " * self._reasoning
        return (
            "You are given a Python function and an assertion containing an input to the function. "
            "Complete the assertion with a literal (no unsimplified expressions, no function "
            "calls) containing the output when executing the provided code on the given input. "
            f"{how}Provide the full assertion with the correct output in [ANSWER] and [/ANSWER] "
            f"tags.\n\n[PYTHON]\n{row['code']}\nassert {row['input']} == ??\n[/PYTHON]\n"
        )

    async def grade(self, task: Task, text: str) -> Grade:
        """Evaluate the answer's expression and compare the value."""
        answer, truth = answers.value(text), self.truth(task)
        if not answer:
            return Grade(NO_ANSWER, "", truth)
        if mentions(answer, task.data["function_name"]):
            return Grade(WRONG, answer, truth, "it calls the function")
        source = f"expected = {task.data['output']}\nassert expected == evaluate(data['answer'])"
        tests = Tests(source, data={"answer": answer})
        return graded(await self.grader.check(PREAMBLE + task.data["code"], tests), answer, truth)

    def gold(self, task: Task) -> str | None:
        """Return the assertion."""
        return f"[ANSWER]assert {task.data['input']} == {task.data['output']}[/ANSWER]"

    def truth(self, task: Task) -> str:
        """Return the expected value."""
        return str(task.data["output"])


def _task(row: Row, split: str) -> Task:
    day = day_of(row["contest_date"])
    names = {"difficulty": row["difficulty"], "platform": row["platform"]}
    return Task(row["question_id"], row, {**names, "month": f"{day:%Y-%m}"}, split)


def _execution_task(row: Row, split: str) -> Task:
    day = day_of(row["contest_date"])
    metadata = {"difficulty": row["difficulty"], "month": f"{day:%Y-%m}"}
    return Task(f"{row['id']}", row, metadata, split)


def day_of(value: str | datetime) -> date:
    """Return the day of a contest; raises `DataError` for what is no date."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError:
        raise DataError(f"contest_date {value!r} is no date", "it must be ISO 8601") from None
    return moment.date()


def in_window(rows: Sequence[Row], start: date | None, end: date | None, where: str) -> list[Row]:
    """Return the rows of contests from `start` to `end`, both included; DataError when none is."""
    kept = [
        row
        for row in rows
        if (start is None or day_of(row["contest_date"]) >= start)
        and (end is None or day_of(row["contest_date"]) <= end)
    ]
    if not kept:
        days = sorted(day_of(row["contest_date"]) for row in rows)
        raise DataError(
            f"{where} has no contest from {start or 'the first'} to {end or 'the last'}",
            f"it has some from {days[0]} to {days[-1]}",
        )
    return kept


def cases(row: Mapping[str, Any], where: str) -> tuple[list[Any], list[Any]]:
    """Return the public and private tests of a problem; raises `DataError`."""
    public, private = (
        _tests(row, name, where) for name in ("public_test_cases", "private_test_cases")
    )
    if not (public or private):
        raise DataError(f"{where}: {row['question_id']} has no tests", "fetch the file again")
    return public, private


def _tests(row: Mapping[str, Any], name: str, where: str) -> list[Any]:
    place = f"{where}, {name} of {row['question_id']}"
    tests = packed_json(row[name], place)
    kinds = ("stdin", "functional")
    if not isinstance(tests, list) or not all(
        isinstance(test, dict)
        and test.get("testtype") in kinds
        and isinstance(test.get("input"), str)
        and isinstance(test.get("output"), str)
        for test in tests
    ):
        raise DataError(f"{place} are no tests", "fetch the file again")
    return tests


def _function(row: Mapping[str, Any], where: str) -> str:
    """Return the function that the metadata name; empty where there is none."""
    place = f"{where}, metadata of {row['question_id']}"
    metadata = packed_json(row["metadata"], place) if row["metadata"].strip() else {}
    if not isinstance(metadata, dict):
        raise DataError(f"{place} are no object", "fetch the file again")
    return str(metadata.get("func_name") or "")


def judged_output(printed: Printed, expected: str) -> Verdict:
    """Compare what a program printed: line by line, then as exact decimal numbers."""
    if not printed.verdict.passed:
        return printed.verdict
    lines = _lines(printed.stdout.decode("utf-8", "replace"))
    wanted = _lines(expected)
    if len(lines) == len(wanted) and all(map(_same_line, lines, wanted)):
        return printed.verdict
    return Verdict("wrong_answer", "it prints something else", printed.verdict.cpu_s)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _same_line(line: str, wanted: str) -> bool:
    if line == wanted:
        return True
    left, right = line.split(), wanted.split()
    return len(left) == len(right) and bool(left) and all(map(_same_number, left, right))


def _same_number(left: str, right: str) -> bool:
    try:
        return Decimal(left) == Decimal(right)
    except InvalidOperation:
        return False


def read_submission(path: Path) -> dict[str, list[str]]:
    """Return programs by question of the published format ``[{question_id, code_list}]``."""
    content = read_json(path)
    try:
        found = {str(entry["question_id"]): list(entry["code_list"]) for entry in content}
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{path} is no submission: {error!r}", "give [{question_id, code_list}, ...]"
        ) from None
    if not all(isinstance(code, str) for codes in found.values() for code in codes):
        raise DataError(f"{path} holds a program that is no text")
    return found
