"""Choosing among the answers of a finished run, as a benchmark that the runner goes through.

A task is a problem. What is run and asked for it sees the problem's statement, its shown tests and
the answers; whether an answer is right is only looked up when everything is chosen.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.env.environment import Task
from cwm_core.errors import ContextLengthError
from cwm_eval.benchmarks import answers
from cwm_eval.benchmarks.base import MetricInfo, Summary
from cwm_eval.benchmarks.graded_code import ProgramEnvironment, ProgramTest
from cwm_eval.benchmarks.shown_tests import as_call
from cwm_eval.benchmarks.text_benchmark import TextBenchmark, seed_of
from cwm_eval.config import BestConfig
from cwm_eval.samples import Sample
from cwm_eval.scaling import generated_tests
from cwm_eval.scaling.best_at_k import Candidate, choose, majority_tests
from cwm_eval.scaling.metrics import infos, summarise
from cwm_eval.scaling.problems import (
    Problem,
    is_empty,
    length,
    patch_form,
    program_form,
    to_json,
)
from cwm_eval.scaling.self_verification import verify


class Choosing(ABC):
    """What choices among patches and among programs share."""

    def __init__(self, problems: Sequence[Problem], ks: Sequence[int]) -> None:
        self.metric_infos: Mapping[str, MetricInfo] = infos(ks)
        self._ks = ks
        self._problems = {problem.id: problem for problem in problems}

    def count(self) -> int | None:
        """Return the number of problems."""
        return len(self._problems)

    def tasks(self) -> Iterator[Task]:
        """Yield a task per problem."""
        for problem in self._problems.values():
            yield Task(problem.id, {}, problem.metadata)

    @abstractmethod
    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        """Choose among the answers to one problem."""

    def summarise(self, samples: Iterable[Sample]) -> Summary:
        """Return the figures of all choices."""
        return summarise(samples, self._ks)


class ChosenPatches(Choosing):
    """Choices among the patches of SWE-bench: by tests whose results samples hold, and by votes.

    A sample may hold ``existing_tests``, the share of the repository's own tests that pass, and
    ``generated_tests``, whether each generated test passes, by name.
    """

    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        """Choose among the patches to one instance."""
        problem = self._problems[task.id]
        candidates = [_patch(result) for result in problem.results]
        return _result(problem, candidates, [None] * len(candidates), {})


class ChosenPrograms(Choosing):
    """Choices among programs: by tests that are shown, given, or generated, and by predictions."""

    def __init__(
        self,
        config: BestConfig,
        benchmark: TextBenchmark,
        tasks: Mapping[str, Task],
        given: Mapping[str, Sequence[ProgramTest]],
        problems: Sequence[Problem],
        ks: Sequence[int],
    ) -> None:
        super().__init__(problems, ks)
        assert isinstance(benchmark.environment, ProgramEnvironment)
        self._config = config
        self._benchmark = benchmark
        self._environment: ProgramEnvironment = benchmark.environment
        self._tasks = tasks
        self._given = given

    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        """Run and predict what the choice among the programs to one problem needs."""
        problem, asked = self._problems[task.id], self._tasks[task.id]
        shown = self._environment.shown_tests(asked)
        began = time.monotonic()
        written, tokens = await self._written(asked, engine)
        generate_s = time.monotonic() - began
        tests = generated_tests.unique([*self._given.get(task.id, ()), *written])
        tests = [test for test in tests if test.name not in {each.name for each in shown}]
        existing = shown if self._config.existing else []
        programs = _programs(problem)
        began = time.monotonic()
        ran = await self._run(asked, programs, existing, tests)
        grade_s = time.monotonic() - began
        predicted, more = await self._predicted(asked, programs, shown, engine)
        candidates = [_program(result, ran) for result in problem.results]
        verified = [
            None if is_empty(result) else predicted.get(result["answer"])
            for result in problem.results
        ]
        facts = {
            "generate_s": round(generate_s, 4),
            "grade_s": round(grade_s, 4),
            "choice_tokens": tokens + more,
            "shown_tests": len(existing),
            "tests": [test.name for test in tests],
        }
        return _result(problem, candidates, verified, facts)

    async def _written(self, task: Task, engine: Engine) -> tuple[list[ProgramTest], int]:
        """Ask for tests; return the usable ones and how many tokens they took."""
        if not self._config.generate:
            return [], 0
        question = generated_tests.request(self._environment, task, self._config.tests_per_request)
        prompt = self._benchmark.asked(question)
        params = [self._params(task, number) for number in range(self._config.generate)]
        try:
            made = await asyncio.gather(*(engine.generate(prompt, each) for each in params))
        except ContextLengthError:
            return [], 0
        found: list[ProgramTest] = []
        for completion in made:
            text = completion.text
            if completion.token_ids:
                text = self._benchmark.tokenizer.decode(completion.token_ids, skip_special=True)
            kept = answers.without_reasoning(text, reasoning=self._benchmark.config.reasoning)
            found += generated_tests.read_tests(self._environment, task, kept or "")
        return found, sum(len(completion.token_ids) for completion in made)

    def _params(self, task: Task, number: int) -> SamplingParams:
        config = self._config
        return SamplingParams(
            max_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            stop_token_ids=self._benchmark.stops,
            seed=seed_of(f"{config.seed}:{task.id}:tests:{number}"),
        )

    async def _run(
        self,
        task: Task,
        programs: Sequence[str],
        existing: Sequence[ProgramTest],
        tests: Sequence[ProgramTest],
    ) -> dict[str, tuple[float, dict[str, bool]]]:
        """Return the share of existing tests that each program passes, and the others by name."""

        async def one(program: str, test: ProgramTest) -> bool:
            return (await self._environment.passes(task, program, test)).passed

        ran = {}
        for program in programs:
            old = await asyncio.gather(*(one(program, test) for test in existing))
            new = await asyncio.gather(*(one(program, test) for test in tests))
            share = sum(old) / len(old) if old else 1.0
            ran[program] = share, {test.name: ok for test, ok in zip(tests, new)}
        return ran

    async def _predicted(
        self, task: Task, programs: Sequence[str], shown: Sequence[ProgramTest], engine: Engine
    ) -> tuple[dict[str, float], int]:
        """Let the model execute the shown calls; return the share that agrees, and the tokens."""
        entry = self._environment.entry(task)
        calls = [call for test in shown if (call := as_call(test.name, entry)) is not None]
        if not self._config.verify or not calls:
            return {}, 0
        params = SamplingParams(
            max_tokens=self._config.max_new_tokens, stop_token_ids=self._benchmark.stops
        )
        found = await asyncio.gather(
            *(
                verify(
                    engine,
                    self._benchmark.tokenizer,
                    self._environment.runnable(program),
                    entry,
                    dict(calls),
                    params=params,
                )
                for program in programs
            )
        )
        shares = {
            program: sum(each.agrees for each in predictions) / len(predictions)
            for program, predictions in zip(programs, found)
        }
        return shares, sum(each.tokens for predictions in found for each in predictions)

    def close(self) -> None:
        """Free sandboxes and processes."""
        self._benchmark.close()


def _programs(problem: Problem) -> list[str]:
    """Return the different programs to a problem."""
    return list(dict.fromkeys(str(r["answer"]) for r in problem.results if not is_empty(r)))


def _program(
    result: Mapping[str, Any], ran: Mapping[str, tuple[float, dict[str, bool]]]
) -> Candidate:
    if is_empty(result):
        return Candidate("", length(result), 0.0, {}, empty=True)
    share, passed = ran[result["answer"]]
    return Candidate(program_form(result["answer"]), length(result), share, passed)


def _patch(result: Mapping[str, Any]) -> Candidate:
    if is_empty(result):
        return Candidate("", length(result), 0.0, {}, empty=True)
    return Candidate(
        patch_form(result["answer"]),
        length(result),
        float(result.get("existing_tests", 1.0)),
        {str(name): bool(ok) for name, ok in (result.get("generated_tests") or {}).items()},
    )


def _result(
    problem: Problem,
    candidates: Sequence[Candidate],
    verified: Sequence[float | None],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a problem's sample: the choice among all answers, and every candidate."""
    index = choose(candidates)
    chosen = problem.results[index]
    tests = list(dict.fromkeys(name for each in candidates for name in each.generated))
    rows = [
        to_json(candidate, share, bool(result["right"]))
        for candidate, share, result in zip(candidates, verified, problem.results)
    ]
    usual = {"prompt_tokens": 0, "generate_s": 0.0, "grade_s": 0.0, "choice_tokens": 0}
    shown = {key: chosen.get(key, "") for key in ("question", "truth", "finish")}
    return {
        **usual,
        **shown,
        "text": str(chosen.get("text") or chosen["answer"]),
        "answer": chosen["answer"],
        "new_tokens": chosen["new_tokens"],
        "right": bool(chosen["right"]),
        "outcome": chosen["outcome"],
        "detail": _why(index, candidates),
        "scores": {},
        "tests": tests,
        **facts,
        "candidates": rows,
    }


def _why(index: int, candidates: Sequence[Candidate]) -> str:
    """Tell what spoke for a choice."""
    chosen = candidates[index]
    best = majority_tests(candidates)
    passed = sum(chosen.generated.get(name, False) for name in best)
    votes = Counter(each.answer for each in candidates if not each.empty)[chosen.answer]
    return (
        f"chosen: answer {index + 1} of {len(candidates)}; shown tests {chosen.existing:.0%}, "
        f"majority tests {passed} of {len(best)}, votes {votes}, length {chosen.tokens}"
    )
