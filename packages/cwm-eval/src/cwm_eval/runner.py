"""Runs the tasks of a benchmark through an engine: bounded concurrency, retries, resume."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from cwm_core.engine.base import Engine
from cwm_core.env.environment import Task
from cwm_core.errors import ConfigError, DataError, RunError
from cwm_core.progress import Progress
from cwm_eval.benchmarks.base import Benchmark, SkipTaskError
from cwm_eval.samples import Sample, SampleFile

_log = logging.getLogger(__name__)


@dataclass
class Runner:
    """Evaluates every task that is not finished yet and appends one sample for each.

    Any exception of `Benchmark.evaluate` is an infrastructure failure: the task is tried `retries`
    times more after a growing pause, then saved with its error and left to the next start. Errors
    of the data and configuration (`DataError`, `ConfigError`) end the run at once. After `failures`
    failed tasks in a row the engine counts as down and `run` raises `RunError`; everything finished
    is kept.
    """

    benchmark: Benchmark
    engine: Engine
    samples: SampleFile
    concurrency: int = 16
    retries: int = 2
    failures: int = 20
    pause_s: float = 0.5
    failed: int = 0
    """Tasks that ended with an infrastructure failure in this process."""
    _in_a_row: int = field(default=0, repr=False)
    _last_saved: float = field(default=0.0, repr=False)

    async def run(self, progress: Progress) -> None:
        """Work until every task has a sample."""
        finished = self.samples.finished()
        if finished:
            progress.set(len(finished))
        tasks = (task for task in self.benchmark.tasks() if task.id not in finished)
        self._last_saved = time.monotonic()
        workers = [
            asyncio.create_task(self._work(tasks, progress)) for _ in range(self.concurrency)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, tasks: Iterator[Task], progress: Progress) -> None:
        for task in tasks:
            sample = await self._sample(task)
            self._save(sample)
            progress.advance(**({"failed": self.failed} if self.failed else {}))
            if self._in_a_row >= self.failures:
                raise self._given_up(sample)

    async def _sample(self, task: Task) -> Sample:
        error: Exception | None = None
        for attempt in range(1, self.retries + 2):
            try:
                result = await self.benchmark.evaluate(task, self.engine)
                return Sample(task.id, task.metadata, result=result, attempts=attempt)
            except SkipTaskError as skip:
                return Sample(task.id, task.metadata, skipped=str(skip), attempts=attempt)
            except (ConfigError, DataError):
                raise
            except Exception as failure:
                error = failure
                _log.info("task %s, attempt %d failed: %r", task.id, attempt, failure)
            if attempt <= self.retries:
                await asyncio.sleep(self.pause_s * 2 ** (attempt - 1))
        problem = {"kind": type(error).__name__, "message": str(error)}
        return Sample(task.id, task.metadata, error=problem, attempts=self.retries + 1)

    def _save(self, sample: Sample) -> None:
        now = time.monotonic()
        elapsed, self._last_saved = now - self._last_saved, now
        self.samples.append(
            Sample(
                sample.task_id,
                sample.metadata,
                sample.result,
                sample.error,
                sample.skipped,
                sample.attempts,
                round(elapsed, 4),
            )
        )
        self.failed += sample.error is not None
        self._in_a_row = 0 if sample.error is None else self._in_a_row + 1

    def _given_up(self, sample: Sample) -> RunError:
        assert sample.error is not None
        return RunError(
            f"{self._in_a_row} tasks in a row failed, each {sample.attempts} times; the last with "
            f"{sample.error['kind']}: {sample.error['message']}",
            "see that the engine works, then start the same command again: it continues",
        )
