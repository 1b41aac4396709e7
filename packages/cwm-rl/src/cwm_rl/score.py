"""Scoring stored trajectories with a reward, from shards to shards."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from statistics import fmean
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.data.records import TRAJECTORY_SCHEMA, trajectory_from_row, trajectory_to_row
from cwm_core.data.shards import ShardWriter, count_rows, read_shards
from cwm_core.env.concurrency import gather_bounded, run_sync
from cwm_core.env.reward import Reward
from cwm_core.env.trajectory import task_of
from cwm_core.errors import DataError, RunError
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_rl.config import ScoreConfig

BATCH = 256
"""Trajectories in memory at once."""
Summary = dict[str, dict[str, float]]


def score(config: ScoreConfig, run: RunDir) -> Summary:
    """Write every trajectory with its new reward; return count and mean by exit reason and in all.

    Continues after an interruption. Raises RunError at the end when some could not be scored:
    these are left out, and a second start tries them again.
    """
    reward = config.reward.build()
    failures: list[str] = []
    with (
        ShardWriter(run.path / "trajectories", TRAJECTORY_SCHEMA) as writer,
        progress(count_rows(config.data), "score", "trajectories") as bar,
    ):
        done = writer.done_keys("trajectory_id")
        bar.set(len(done))
        for batch in _batches(config, done):
            scored, failed = run_sync(_score_batch(reward, batch, config))
            for row in scored:
                writer.write(row)
            failures += failed
            bar.advance(len(batch), failed=len(failures))
        if not failures:
            writer.finish()
    summary = summarise(config, run)
    atomic_write(run.path / "summary.json", json.dumps(summary, indent=2) + "\n")
    if failures:
        raise RunError(
            f"trajectories that could not be scored: {len(failures)}; the first: {failures[0]}",
            "the others are kept; start again to try these once more",
        )
    return summary


def summarise(config: ScoreConfig, run: RunDir) -> Summary:
    """Return count and mean of the reward, by exit reason and under ``"all"``."""
    values: dict[str, list[float]] = defaultdict(list)
    if list((run.path / "trajectories").glob("*.parquet")):
        for row in read_shards(run.path / "trajectories", ["exit_reason", "rewards"]):
            value = json.loads(row["rewards"])[config.reward_key]
            values[row["exit_reason"]].append(value)
    parts = {name: values[name] for name in sorted(values)}
    parts["all"] = [value for part in parts.values() for value in part]
    return {name: {"count": len(p), "mean": fmean(p)} for name, p in parts.items() if p}


def _batches(config: ScoreConfig, done: set[str]) -> Iterator[list[dict[str, Any]]]:
    rows = (row for row in read_shards(config.data) if row.get("trajectory_id") not in done)
    while batch := list(islice(rows, BATCH)):
        yield batch


async def _score_batch(
    reward: Reward, rows: list[dict[str, Any]], config: ScoreConfig
) -> tuple[list[dict[str, Any]], list[str]]:
    async def one(row: dict[str, Any]) -> dict[str, Any]:
        trajectory = trajectory_from_row(row)
        value = float(await reward.score(task_of(trajectory), trajectory))
        if not math.isfinite(value):
            raise DataError(f"the reward returned {value}")
        rewards = {**trajectory.rewards, config.reward_key: value}
        return trajectory_to_row(replace(trajectory, rewards=rewards), row["trajectory_id"])

    gathered = await gather_bounded(one, rows, limit=config.concurrency)
    failed = [
        f"{failure.item.get('trajectory_id')!r}: {type(failure.error).__name__}: {failure.error}"
        for failure in sorted(gathered.failures, key=lambda failure: failure.index)
    ]
    return gathered.in_order(), failed
