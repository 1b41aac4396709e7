"""Collecting: many agents, tasks and sandboxes at once, every episode kept exactly once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.data.records import trajectory_to_row
from cwm_core.engine.base import Engine, EngineError
from cwm_core.env.concurrency import Failure, gather_bounded, run_sync
from cwm_core.env.environment import Agent, Environment, Task
from cwm_core.env.rollout import Limits, rollout
from cwm_core.env.trajectory import ExitReason, Trajectory
from cwm_core.errors import CwmError, RunError
from cwm_core.plugins import registry
from cwm_core.progress import Progress, progress
from cwm_core.rundir import RunDir
from cwm_forager.agent.binding import agent_for
from cwm_forager.collect.config import ForageConfig
from cwm_forager.collect.interrupts import interruptible
from cwm_forager.collect.journal import Journal

_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to play."""

    task: Task
    agent: str
    sample: int

    @property
    def key(self) -> str:
        """Unique id, which the trajectory gets."""
        return f"{self.task.id}#{self.agent}#{self.sample}"


@dataclass(slots=True)
class Tally:
    """Counts by agent; what could not be played."""

    played: Counter[str] = field(default_factory=Counter)
    resolved: Counter[str] = field(default_factory=Counter)
    exits: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)

    def add(self, agent: str, trajectory: Trajectory) -> None:
        """Count an episode."""
        self.played[agent] += 1
        self.resolved[agent] += bool(trajectory.outcome.get("resolved"))
        exits = self.exits.setdefault(agent, Counter())
        exits[str(trajectory.outcome.get("exit", trajectory.exit_reason))] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the content of summary.json."""
        agents = {
            name: {
                "played": self.played[name],
                "resolved": self.resolved[name],
                "exits": dict(sorted(self.exits[name].items())),
            }
            for name in sorted(self.played)
        }
        return {"agents": agents, "failures": self.failures}


def collect(config: ForageConfig, run: RunDir) -> Tally:
    """Play every task with every agent; continues after an interruption or ``kill -9``.

    Writes ``trajectories/`` (shards), ``journal.jsonl`` and ``summary.json``. Trajectories are not
    filtered by success; their outcome is their label. An episode whose sandbox or engine keeps
    failing is a failure of its own and is tried again by the next start.

    Raises:
        RunError: episodes could not be played.
    """
    return run_sync(interruptible(_Collection(config, run).play()))


class _Collection:
    def __init__(self, config: ForageConfig, run: RunDir) -> None:
        self.config, self.run = config, run
        self.engine: Engine | None = config.engine.build() if config.engine else None
        self.environment: Environment = config.environment.build(tokenizer=self._tokenizer())
        self.agents: dict[str, Agent] = {
            name: agent.build(self.engine) for name, agent in config.agents.items()
        }
        self.tally = Tally()

    def _tokenizer(self) -> Any:
        if self.config.tokenizer is None:
            return getattr(self.engine, "tokenizer", None)
        from cwm_core.text.tokenizer import Tokenizer

        return Tokenizer.load(self.config.tokenizer)

    def jobs(self) -> Iterator[Job]:
        """Yield all episodes; tasks come first, so that agents share what is cached."""
        tasks: Iterable[Task] = self.environment.tasks(self.config.split)
        for task in islice(tasks, self.config.limit):
            for sample in range(self.config.samples):
                for agent in self.agents:
                    yield Job(task, agent, sample)

    async def play(self) -> Tally:
        total = sum(1 for _ in self.jobs())
        if not total:
            raise RunError(
                f"the environment has no task in split {self.config.split!r}", "set split="
            )
        with (
            Journal(self.run.path, self.config.rows_per_shard) as journal,
            progress(total, "forage", "episodes") as bar,
        ):
            self._count_finished(journal)
            bar.set(len(journal.done), **self._shown())
            try:
                await gather_bounded(
                    lambda job: self._job(job, journal),
                    (job for job in self.jobs() if job.key not in journal.done),
                    limit=self.config.concurrency,
                    on_done=lambda _, result: self._report(result, journal, bar),
                )
            finally:
                if self.engine is not None:
                    await self.engine.close()
            journal.close_shards()
        self._summarise()
        return self.tally

    async def _job(self, job: Job, journal: Journal) -> None:
        """Play one episode and keep it; raises what made it impossible."""
        journal.claim(job.key)
        self._keep(job, await self._played(job), journal)

    async def _played(self, job: Job) -> Trajectory:
        for attempt in range(self.config.retries + 1):
            last = attempt == self.config.retries
            try:
                trajectory = await self._episode(job)
            except EngineError:
                if last:
                    raise
            else:
                if trajectory.exit_reason != ExitReason.ENVIRONMENT_ERROR or last:
                    return trajectory
            await asyncio.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _episode(self, job: Job) -> Trajectory:
        agent = agent_for(self.agents[job.agent], job.task)
        limits = Limits(turns=10**6, timeout_s=self.config.timeout_s)
        return await rollout(self.environment, job.task, agent, limits=limits)

    def _keep(self, job: Job, trajectory: Trajectory, journal: Journal) -> None:
        config = self.config.agents[job.agent]
        repository = job.task.metadata.get("repository", "")
        metadata = {
            **trajectory.metadata,
            "agent": job.agent,
            "agent_config": config.model_dump(mode="json"),
            "sample": job.sample,
            "starts": journal.claims(job.key),
            "repository": repository,
        }
        trajectory = replace(trajectory, metadata=metadata)
        journal.finish(trajectory_to_row(trajectory, job.key))
        self.tally.add(job.agent, trajectory)
        registry().emit("trajectory_finished", run_dir=self.run.path, trajectory=trajectory)

    def _report(self, result: Any, journal: Journal, bar: Progress) -> None:
        if isinstance(result, Failure):
            if not isinstance(result.error, CwmError):
                raise result.error
            self.tally.failures.append({"episode": result.item.key, "error": str(result.error)})
            self.run.log(f"{result.item.key} could not be played: {result.error}")
        bar.set(len(journal.done), **self._shown())

    def _shown(self) -> dict[str, int]:
        return {
            "resolved": self.tally.resolved.total(),
            "failed": len(self.tally.failures),
        }

    def _count_finished(self, journal: Journal) -> None:
        """Count what earlier processes finished."""
        if not journal.done:
            return
        from cwm_core.data.records import trajectory_from_row

        for row in journal.rows():
            trajectory = trajectory_from_row(row)
            self.tally.add(str(trajectory.metadata.get("agent", "")), trajectory)

    def _summarise(self) -> None:
        text = json.dumps(self.tally.as_json(), indent=2) + "\n"
        atomic_write(self.run.path / "summary.json", text)
        if self.tally.failures:
            first = self.tally.failures[0]
            raise RunError(
                f"{len(self.tally.failures)} episodes could not be played; the first: "
                f"{first['episode']}: {first['error']}",
                "start again to try them once more",
            )
