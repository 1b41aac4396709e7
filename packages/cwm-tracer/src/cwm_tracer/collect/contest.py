"""Contest solutions to traces: which solutions are run, and on which tests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from cwm_tracer.capture.scripts import MODULE, script_input
from cwm_tracer.collect.balance import Balance
from cwm_tracer.collect.contest_data import Problem, Source, Test, read_problems
from cwm_tracer.collect.contest_judge import CORRECT, INCORRECT, ContestJudge, Solution
from cwm_tracer.collect.pipeline import collect_programs
from cwm_tracer.programs.program import Program

if TYPE_CHECKING:
    from cwm_core.rundir import RunDir
    from cwm_tracer.collect.contest_config import ContestConfig

T = TypeVar("T")


def collect_contest(config: ContestConfig, run: RunDir) -> dict[str, Any]:
    """Record what is not recorded yet; return (and write) the summary.

    Raises:
        CwmError: as `collect_programs`.
    """
    return collect_programs(
        config,
        run,
        Solutions(config),
        judge=ContestJudge(config.float_tolerance, config.only_failing),
        balance=_balance(config.incorrect_per_correct),
    )


class Solutions:
    """The solutions to run, read anew on every iteration: correct and incorrect ones in turn."""

    def __init__(self, config: ContestConfig) -> None:
        self._config = config

    def __iter__(self) -> Iterator[Solution]:
        for problem in islice(read_problems(self._config.data), self._config.limit):
            yield from self._of(problem)

    def _of(self, problem: Problem) -> Iterator[Solution]:
        config = self._config
        wanted = tuple(f"{kind}_tests" for kind in config.tests)
        tests = [
            test
            for test in problem.tests
            if test.name.startswith(wanted) and len(test.stdin) <= config.max_input
        ]
        both = [self._chosen(problem, sources) for sources in (problem.correct, problem.incorrect)]
        for pair in zip_longest(*both):
            for correct, source in zip((True, False), pair):
                if source is not None and tests:
                    yield self._solution(problem, source, correct, tests)

    def _chosen(self, problem: Problem, sources: Sequence[Source]) -> list[Source]:
        known = [source for source in sources if source.language in self._config.languages]
        return self._draw(known, self._config.solutions_per_problem, problem.name)

    def _solution(
        self, problem: Problem, source: Source, correct: bool, tests: list[Test]
    ) -> Solution:
        key = f"{problem.name} {source.name}"
        drawn = self._draw(tests, self._config.tests_per_solution, key)
        first_of: dict[str, Test] = {}
        for test in drawn:
            first_of.setdefault(script_input(stdin=test.stdin), test)
        plain = Program.of(source.text, MODULE, tuple(first_of), origin=key)
        fields = {name: getattr(plain, name) for name in Program.__slots__ if name != "group"}
        return Solution(
            **fields,
            group=problem.name,
            expected=tuple(test.expected for test in first_of.values()),
            tests=tuple(test.name for test in first_of.values()),
            correct=correct,
        )

    def _draw(self, items: list[T], most: int | None, key: str) -> list[T]:
        """Draw some, in their order; the same for the same seed and key."""
        if most is None or len(items) <= most:
            return items
        chosen = random.Random(f"{self._config.seed} {key}").sample(range(len(items)), most)
        return [items[index] for index in sorted(chosen)]


def _balance(incorrect_per_correct: float | None) -> Balance | None:
    if incorrect_per_correct is None:
        return None
    return Balance({CORRECT: 1.0, INCORRECT: incorrect_per_correct})
