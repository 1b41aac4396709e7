"""The collector: programs to sides to tracers to shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cwm_core.atomic import atomic_write
from cwm_core.data import records
from cwm_core.data.shards import ShardWriter, read_shards
from cwm_core.errors import ConfigError, RunError
from cwm_core.executor.base import Executor
from cwm_core.progress import Progress, progress
from cwm_core.rundir import RunDir
from cwm_tracer.capture.tracer import trace_id
from cwm_tracer.collect.balance import Balance
from cwm_tracer.collect.config import ShardsConfig, TraceConfig, WorkersConfig
from cwm_tracer.collect.journal import Journal
from cwm_tracer.collect.recording import Execution, Judge, RecordBatch
from cwm_tracer.collect.sides import Sides
from cwm_tracer.programs.program import Program

if TYPE_CHECKING:
    from cwm_tracer.collect.repository.config import TestsConfig

T = TypeVar("T")

SECONDS_PER_SHARD = 20.0
"""Most that a killed collector has to do again."""


def collect(config: TraceConfig, run: RunDir) -> dict[str, Any]:
    """Record the programs of a source that are not recorded yet, as `collect_programs` does."""
    benchmark = config.programs.name == "file"
    return collect_programs(config, run, config.programs.build(), benchmark=benchmark)


def collect_programs(
    config: ShardsConfig,
    run: RunDir,
    source: Iterable[Program],
    *,
    benchmark: bool = False,
    judge: Judge | None = None,
    balance: Balance | None = None,
) -> dict[str, Any]:
    """Record everything that is not recorded yet; return (and write) the summary.

    Programs of a `benchmark` go to the test side unless `split.side` says otherwise. A `judge`
    names the origin of each trace, or leaves it out; a `balance` keeps origins in proportion.

    Raises:
        CwmError: the programs cannot be read, the disk refuses, or tracers keep dying.
    """
    programs = _Programs(source)
    directory = run.path / "traces"
    writer = ShardWriter(
        directory,
        records.TRACE_SCHEMA,
        rows_per_shard=config.rows_per_shard,
        seconds_per_shard=SECONDS_PER_SHARD,
    )
    sides = Sides(config.split, _by_fractions(config, benchmark), config.exclude)
    with writer, Journal(run.path / "dropped.jsonl") as journal:
        done = writer.done_keys("trace_id")
        sides.look_ahead(programs)
        with executor_of(config) as executor, progress(programs.total(), "trace", "prog") as bar:
            if balance is not None and done:
                balance.resume(row["origin"] for row in read_shards(directory, ["origin"]))
            collector = _Collector(config, writer, journal, bar, judge, balance)
            collector.work(executor, programs, sides, done)
        writer.finish()
        summary = summary_of(directory if writer.rows else None, journal)
        atomic_write(run.path / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


class _Collector:
    """Feeds executions to the tracers and files what comes back."""

    def __init__(
        self,
        config: ShardsConfig,
        writer: ShardWriter,
        journal: Journal,
        bar: Progress,
        judge: Judge | None,
        balance: Balance | None,
    ) -> None:
        self._config = config
        self._writer = writer
        self._journal = journal
        self._bar = bar
        self._judge = judge
        self._balance = balance
        self._programs = 0
        self._events = 0
        self._new = 0

    def work(
        self, executor: Executor, programs: Iterable[Program], sides: Sides, done: set[str]
    ) -> None:
        """Record all executions that are neither `done` nor left out."""
        config = self._config
        function = RecordBatch(config.tracer, config.limits, config.drop, self._judge)
        pending = self._pending(programs, sides, done)
        batches = batched(pending, config.batch)
        for result in executor.map(function, batches, key=_ids):
            if result.error is not None:
                self._lost(result.key, str(result.error.message))
            for recorded in result.value or ():
                self._events += recorded.events
                self._new += 1
                if recorded.row is not None:
                    self._keep(recorded.row)
                else:
                    rule = recorded.dropped or "dropped"
                    self._journal.add(recorded.trace_id, rule, recorded.outcome, recorded.reason)
            self._journal.flush()
            self._bar.set(self._programs, traces=self._new, events=self._events)
        self._give_up([] if self._balance is None else self._balance.rest())

    def _keep(self, row: Mapping[str, Any]) -> None:
        if self._balance is None:
            self._writer.write(row)
            return
        kept, surplus = self._balance.offer(row)
        for each in kept:
            self._writer.write(each)
        self._give_up(surplus)

    def _give_up(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self._journal.add(row["trace_id"], "out of balance", row["outcome"], row["reason"])

    def _pending(
        self, programs: Iterable[Program], sides: Sides, done: set[str]
    ) -> Iterator[Execution]:
        for program, side, objection in sides.assign(programs):
            self._programs += 1
            if objection is not None:
                self._journal.add(f"{program.id} {program.origin}", objection)
                continue
            for text in dict.fromkeys(program.inputs[: self._config.inputs_per_program]):
                name = trace_id(program, text)
                if name not in done and name not in self._journal.ids:
                    yield Execution(name, program, text, side)

    def _lost(self, ids: list[str], message: str) -> None:
        """Note a batch whose worker raised or died; the run goes on unless nothing else happens."""
        for name in ids:
            self._journal.add(name, "worker failed", "", message)
        if not self._new and self._journal.counts["worker failed"] > 10 * self._config.batch:
            raise RunError(f"every tracer fails: {message}", "try `cwm trace FILE.py:function`")


class _Programs:
    """Programs that can be read more than once."""

    def __init__(self, built: Iterable[Program]) -> None:
        self._again = None if iter(built) is not built else list(built)
        self._built = built

    def __iter__(self) -> Iterator[Program]:
        return iter(self._built if self._again is None else self._again)

    def total(self) -> int | None:
        """How many there are, if that is known."""
        source = self._built if self._again is None else self._again
        return len(source) if isinstance(source, Sized) else None


def _by_fractions(config: ShardsConfig, benchmark: bool) -> bool:
    side = config.split.side
    return side == "fractions" or (side == "auto" and not benchmark)


def executor_of(config: WorkersConfig | TestsConfig) -> Executor:
    """Build the executor, with `workers` processes if that is given; ConfigError if it has none."""
    executor = config.executor
    if config.workers is not None:
        if "processes" not in type(executor).model_fields:
            raise ConfigError(
                f"workers={config.workers} does not fit executor={executor.name}",
                f"set a field of executor.{executor.name} instead",
            )
        executor = executor.model_copy(update={"processes": config.workers})
    return executor.build()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`; the last may be shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _ids(batch: list[Execution]) -> list[str]:
    return [execution.trace_id for execution in batch]


def summary_of(directory: Path | None, journal: Journal) -> dict[str, Any]:
    """Count what the shards hold (None: there are none), and what was left out."""
    splits: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    programs: dict[str, set[str]] = {}
    events = 0
    columns = ["split", "outcome", "events", "program_id"]
    for row in read_shards(directory, columns) if directory is not None else ():
        splits[row["split"]] += 1
        outcomes[row["outcome"]] += 1
        events += row["events"]
        programs.setdefault(row["split"], set()).add(row["program_id"])
    return {
        "traces": sum(splits.values()),
        "programs": sum(map(len, programs.values())),
        "events": events,
        "traces_by_split": dict(sorted(splits.items())),
        "programs_by_split": {side: len(ids) for side, ids in sorted(programs.items())},
        "outcomes": dict(outcomes.most_common()),
        "dropped": dict(journal.counts.most_common()),
    }
