from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cwm_core.engine.base import Engine
from cwm_core.env.environment import Task
from cwm_core.errors import DataError, RunError
from cwm_core.progress import progress
from cwm_eval.benchmarks.base import MetricInfo, SkipTaskError, Summary
from cwm_eval.engines import EmptyEngine
from cwm_eval.runner import Runner
from cwm_eval.samples import Sample, SampleFile, read_samples


@dataclass
class Counting:
    """Twenty tasks; `behave` may raise for a task, `asked` counts calls, `most` concurrent ones."""

    behave: Any = lambda task_id, attempt: None
    tasks_wanted: int = 20
    asked: dict[str, int] = field(default_factory=dict)
    running: int = 0
    most: int = 0
    metric_infos: Mapping[str, MetricInfo] = field(default_factory=dict)

    def count(self) -> int | None:
        return self.tasks_wanted

    def tasks(self) -> Iterable[Task]:
        return (Task(f"t{i}", {}, {"number": i}) for i in range(self.tasks_wanted))

    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        self.asked[task.id] = self.asked.get(task.id, 0) + 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            self.behave(task.id, self.asked[task.id])
        finally:
            self.running -= 1
        return {"answer": task.id}

    def summarise(self, samples: Iterable[Sample]) -> Summary:
        return Summary({})


def work(path: Path, benchmark: Any, **options: Any) -> Runner:
    async def run() -> Runner:
        with SampleFile(path) as samples, progress(benchmark.count(), "test") as shown:
            runner = Runner(benchmark, EmptyEngine(), samples, pause_s=0.0, **options)
            await runner.run(shown)
            return runner

    return asyncio.run(run())


def test_every_task_gets_one_sample_within_the_concurrency(tmp_path: Path) -> None:
    benchmark = Counting()
    work(tmp_path / "s.jsonl", benchmark, concurrency=3)
    samples = list(read_samples(tmp_path / "s.jsonl"))
    assert sorted(s.task_id for s in samples) == sorted(f"t{i}" for i in range(20))
    assert all(s.result == {"answer": s.task_id} for s in samples)
    assert benchmark.most == 3


def test_finished_work_is_not_redone(tmp_path: Path) -> None:
    work(tmp_path / "s.jsonl", Counting(tasks_wanted=8))
    again = Counting()
    work(tmp_path / "s.jsonl", again)
    assert set(again.asked) == {f"t{i}" for i in range(8, 20)}
    assert len(list(read_samples(tmp_path / "s.jsonl"))) == 20


def test_a_half_written_line_is_cut_and_its_task_done_again(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    work(path, Counting(tasks_wanted=5), concurrency=1)
    path.write_bytes(path.read_bytes()[:-9])
    again = Counting(tasks_wanted=5)
    work(path, again)
    assert set(again.asked) == {"t4"}
    assert len(list(read_samples(path))) == 5


def test_damage_elsewhere_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    work(path, Counting(tasks_wanted=2))
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(DataError, match="line 1 is no sample"):
        work(path, Counting())


def test_passing_failures_are_retried_and_counted(tmp_path: Path) -> None:
    def flaky(task_id: str, attempt: int) -> None:
        if task_id == "t3" and attempt < 3:
            raise ConnectionError("refused")

    benchmark = Counting(flaky)
    work(tmp_path / "s.jsonl", benchmark, retries=2)
    sample = next(s for s in read_samples(tmp_path / "s.jsonl") if s.task_id == "t3")
    assert sample.result is not None and sample.attempts == 3


def test_lasting_failures_are_no_answers_and_tried_at_the_next_start(tmp_path: Path) -> None:
    def broken(task_id: str, attempt: int) -> None:
        if task_id in ("t3", "t7"):
            raise ConnectionError("refused")

    path = tmp_path / "s.jsonl"
    runner = work(path, Counting(broken), retries=1)
    assert runner.failed == 2
    failed = [s for s in read_samples(path) if s.error]
    assert {s.task_id for s in failed} == {"t3", "t7"}
    assert failed[0].error == {"kind": "ConnectionError", "message": "refused"}
    assert failed[0].result is None and failed[0].attempts == 2
    repaired = Counting()
    work(path, repaired)
    assert set(repaired.asked) == {"t3", "t7"}
    assert not [s for s in read_samples(path) if s.error]


def test_an_engine_that_is_down_ends_the_run(tmp_path: Path) -> None:
    def dies(task_id: str, attempt: int) -> None:
        if int(task_id[1:]) >= 6:
            raise ConnectionError("gone")

    path = tmp_path / "s.jsonl"
    with pytest.raises(RunError, match=r"4 tasks in a row failed.*ConnectionError: gone"):
        work(path, Counting(dies), retries=0, failures=4, concurrency=1)
    assert sum(s.result is not None for s in read_samples(path)) == 6


def test_skipped_tasks_are_kept_apart(tmp_path: Path) -> None:
    def odd(task_id: str, attempt: int) -> None:
        if task_id == "t1":
            raise SkipTaskError("cannot be said")

    work(tmp_path / "s.jsonl", Counting(odd))
    skipped = [s for s in read_samples(tmp_path / "s.jsonl") if s.skipped]
    assert [(s.task_id, s.skipped, s.error) for s in skipped] == [("t1", "cannot be said", None)]


def test_damaged_data_ends_the_run_at_once(tmp_path: Path) -> None:
    def damaged(task_id: str, attempt: int) -> None:
        raise DataError("part-00000.parquet is damaged")

    benchmark = Counting(damaged)
    with pytest.raises(DataError):
        work(tmp_path / "s.jsonl", benchmark, concurrency=1)
    assert list(benchmark.asked.values()) == [1]


SLOW = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_eval_runner as t

class Slow(t.Counting):
    async def evaluate(self, task, engine):
        await asyncio.sleep(0.005)
        return await super().evaluate(task, engine)

t.work(Path({path!r}), Slow(tasks_wanted=90), concurrency=2)
"""


def test_killed_runs_finish_with_the_samples_of_an_unbroken_one(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    code = textwrap.dedent(SLOW).format(tests=str(Path(__file__).parent), path=str(path))
    killed = 0
    for start in range(1, 11):
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        while process.poll() is None and lines(path) < 8 * start:
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
    assert killed == 10
    written = [json.loads(line)["task_id"] for line in path.read_text().splitlines()]
    assert sorted(written) == sorted(f"t{i}" for i in range(90))


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
