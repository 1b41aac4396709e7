"""MBPP (Austin et al. 2021), its sanitized version and MBPP+: write a function for a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cwm_core.env.environment import Task
from cwm_core.errors import DataError
from cwm_eval.benchmarks import answers
from cwm_eval.benchmarks.checked_python import check_python
from cwm_eval.benchmarks.graded_code import ProgramEnvironment, ProgramTest, graded
from cwm_eval.benchmarks.python_tests import joined, open_names, standard_imports
from cwm_eval.benchmarks.questions import NO_ANSWER, Grade, drawn, unique
from cwm_eval.benchmarks.rows import Row, check_row, read_rows
from cwm_eval.benchmarks.shown_tests import asked, is_plain
from cwm_eval.grading.pool import Tests

if TYPE_CHECKING:
    from cwm_eval.benchmarks.config import MbppTasks

FIELDS: dict[str, type | tuple[type, ...]] = {"task_id": int, "code": str, "test_list": list}
EVALUATION = range(11, 511)
"""The task ids of the paper's test split."""
_QUESTION = """\
You are an expert Python programmer, and here is your task: {text} Your code should pass \
these tests:

{tests}

Answer with the code in one markdown code block.
"""


class Mbpp(ProgramEnvironment):
    """A sentence and three assertions; the assertions decide, in a process apart."""

    def __init__(self, config: MbppTasks, limit: int | None) -> None:
        rows = read_rows(config.data, FIELDS, config.split)
        for row in rows:
            sentence: dict[str, type | tuple[type, ...]] = {
                "prompt" if "prompt" in row else "text": str
            }
            where = f"{config.data}, task {row['task_id']}"
            check_row(row, sentence, where)
            _check_tests(row, where)
        wanted = rows if config.all_tasks else [r for r in rows if r["task_id"] in EVALUATION]
        if not wanted:
            raise DataError(
                f"{config.data} has no task of the test split (11 to 510)",
                "benchmark.all_tasks=true takes all",
            )
        tasks = unique(
            (Task(str(row["task_id"]), row, {}, config.split) for row in wanted), config.data
        )
        super().__init__(
            drawn(tasks, config.bound(limit), config.seed),
            config.grading,
            reasoning=config.reasoning,
        )

    def prompt(self, task: Task) -> str:
        """Return the question of the paper."""
        row = task.data
        return _QUESTION.format(text=_sentence(row), tests="\n".join(row["test_list"]))

    async def grade(self, task: Task, text: str) -> Grade:
        """Run the assertions on the answer's code."""
        code = answers.last_code(text)
        if not code.strip():
            return Grade(NO_ANSWER, truth=self.truth(task))
        verdict = await self.grader.check(joined(code), tests(task.data))
        return graded(verdict, code, self.truth(task))

    def gold(self, task: Task) -> str | None:
        """Return the reference solution."""
        return f"```python\n{self.truth(task)}```"

    def truth(self, task: Task) -> str:
        """Return the reference solution."""
        return joined(task.data["code"])

    def entry(self, task: Task) -> str:
        """Return the function that the first assertion calls."""
        return asked(task.data["test_list"][0]) if task.data["test_list"] else ""

    def statement(self, task: Task) -> str:
        """Return the sentence and the tests of `shown_tests`."""
        shown = "\n".join(test.name for test in self.shown_tests(task))
        return f"{_sentence(task.data)}\n\n{shown}".rstrip()

    def shown_tests(self, task: Task) -> list[ProgramTest]:
        """Return the first assertion; of MBPP+, whose longer test decides, all that are shown.

        MBPP's question shows every assertion that decides, so choosing by all would be grading.
        """
        lines = task.data["test_list"] if task.data.get("test") else task.data["test_list"][:1]
        entry = self.entry(task)
        return [ProgramTest(line.strip()) for line in lines if is_plain(line.strip(), entry)]

    def runnable(self, program: str) -> str:
        """Return the program with Unix line ends."""
        return joined(program)


def _check_tests(row: Row, where: str) -> None:
    """Raise `DataError` for tests that no solution could pass."""
    lines = row["test_list"]
    if not all(isinstance(line, str) for line in lines):
        raise DataError(f"{where}: test_list holds what is no text", "give a list of assertions")
    if not lines and not row.get("test"):
        raise DataError(f"{where} has no tests", "give test_list at least one assertion")
    for line in (*lines, row.get("test") or ""):
        check_python(line, f"{where}: a test")


def _sentence(row: Any) -> str:
    return str(row.get("prompt") or row.get("text"))


def tests(row: Row | Any) -> Tests:
    """Return a problem's tests: its assertions, or the longer test of MBPP+ where there is one."""
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or ())
    if row.get("test"):
        source = joined(setup, row["test"])
    else:
        source = joined(setup, row["test_list"])
    reference = joined(row["code"])
    return Tests(source, names=open_names(source, reference), reference=standard_imports(source))
