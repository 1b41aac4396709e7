"""Traces to shards of narrations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.data.records import COMPLETE_OUTCOMES
from cwm_core.data.shards import ShardWriter, read_shards
from cwm_core.errors import RunError
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_tracer.collect.journal import Journal
from cwm_tracer.collect.pipeline import SECONDS_PER_SHARD, batched, executor_of
from cwm_tracer.collect.sides import shards_of
from cwm_tracer.narrate.config import NarrateConfig
from cwm_tracer.narrate.records import narration_schema
from cwm_tracer.narrate.work import Order, TellBatch, Told

_FAILED = "worker failed"


def narrate_traces(config: NarrateConfig, run: RunDir) -> dict[str, Any]:
    """Tell everything that is not told yet; return (and write) the summary.

    Raises:
        CwmError: the traces cannot be read, the disk refuses, or no worker succeeds.
    """
    directory = run.path / "narrations"
    writer = ShardWriter(
        directory,
        narration_schema(),
        rows_per_shard=config.rows_per_shard,
        seconds_per_shard=SECONDS_PER_SHARD,
    )
    with writer, Journal(run.path / "dropped.jsonl") as journal:
        done = writer.done_keys("narration_id") | journal.ids
        orders = batched(_orders(config, done, journal), config.batch)
        with executor_of(config) as executor, progress(None, "narrate", "trace") as bar:
            for result in executor.map(TellBatch(config), orders, key=_ids):
                if result.error is not None:
                    _lost(journal, result.key, str(result.error.message), writer.rows)
                for told in result.value or ():
                    _file(told, writer, journal)
                journal.flush()
                bar.set(writer.rows)
        writer.finish()
        summary = _summary(directory if writer.rows else None, journal)
        atomic_write(run.path / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _orders(config: NarrateConfig, done: set[str], journal: Journal) -> Iterator[Order]:
    where = {} if config.split is None else {"split": config.split}
    style = "rules" if config.engine is None else "model"
    for row in islice(read_shards(shards_of(config.traces), where=where), config.limit):
        if row["outcome"] not in COMPLETE_OUTCOMES:
            journal.add(row["trace_id"], f"incomplete: {row['outcome']}", row["outcome"])
            continue
        for seed in range(config.seed, config.seed + config.per_trace):
            name = f"{row['trace_id']}-{style}-{seed}"
            if name not in done:
                yield Order(name, row, seed)


def _ids(batch: list[Order]) -> list[str]:
    return [order.narration_id for order in batch]


def _file(told: Told, writer: ShardWriter, journal: Journal) -> None:
    if told.row is not None:
        writer.write(told.row)
    else:
        journal.add(told.narration_id, told.dropped)


def _lost(journal: Journal, ids: list[str], message: str, written: int) -> None:
    """Note a batch whose worker raised or died; nothing is noted while nothing succeeds."""
    if not written:
        raise RunError(f"no narration succeeds: {message}", "the same command continues")
    for name in ids:
        journal.add(name, _FAILED, "", message)


def _summary(directory: Path | None, journal: Journal) -> dict[str, Any]:
    splits: Counter[str] = Counter()
    traces = set()
    for row in read_shards(directory, ["trace_id", "split"]) if directory else ():
        traces.add(row["trace_id"])
        splits[row["split"]] += 1
    return {
        "narrations": sum(splits.values()),
        "traces": len(traces),
        "narrations_by_split": dict(sorted(splits.items())),
        "dropped": dict(journal.counts.most_common()),
    }
