"""Trajectories of tasks whose right actions are known."""

from __future__ import annotations

from itertools import islice
from typing import Any

from cwm_core.data.records import TRAJECTORY_SCHEMA, trajectory_to_row
from cwm_core.data.shards import ShardWriter
from cwm_core.env.concurrency import run_sync
from cwm_core.env.environment import Action, Observation, Task
from cwm_core.env.rollout import Limits, rollout
from cwm_core.errors import DataError
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_core.text import special_tokens as st
from cwm_core.text.tokenizer import Tokenizer
from cwm_rl.config import DemonstrateConfig
from cwm_rl.rollout.guard import GuardedEnvironment

_ENDS = {"eot": st.EOT, "end_of_text": st.END_OF_TEXT}
STEP_S = 600.0
"""Seconds for one step of an environment."""


class Demonstrator:
    """An agent that does what the task says, and then nothing."""

    def __init__(self, actions: list[str], tokenizer: Tokenizer, end: str) -> None:
        self._actions, self._tokenizer = actions, tokenizer
        self._end = tokenizer.special_id(end)

    async def act(
        self, observations: tuple[Observation, ...], actions: tuple[Action, ...]
    ) -> Action:
        """Return the next of the actions."""
        text = self._actions[len(actions)] if len(actions) < len(self._actions) else ""
        ids = (*self._tokenizer.encode(text), self._end)
        return Action(text, ids, finish_reason="stop")


def demonstrate(config: DemonstrateConfig, run: RunDir) -> dict[str, float]:
    """Write a trajectory per task; return how many there are and the mean reward.

    Continues after an interruption. Raises DataError for a task without demonstration.
    """
    tokenizer = Tokenizer.load(config.tokenizer)
    environment: Any = config.environment.build(tokenizer)
    begin = tokenizer.special_ids.get(st.BEGIN_OF_TEXT)
    guarded = GuardedEnvironment(environment, STEP_S, begin)
    total = 0.0
    with (
        ShardWriter(run.path / "trajectories", TRAJECTORY_SCHEMA) as writer,
        progress(config.limit, "demonstrate", "episodes") as bar,
    ):
        done = writer.done_keys("trajectory_id")
        for task in islice(environment.tasks(config.split), config.limit):
            if task.id not in done:
                player = Demonstrator(_actions(task, config.key), tokenizer, _ENDS[config.end])
                limits = Limits(turns=len(_actions(task, config.key)))
                played = run_sync(rollout(guarded, task, player, limits=limits))
                total += played.rewards.get("environment", 0.0)
                writer.write(trajectory_to_row(played, task.id))
            bar.advance()
        writer.finish()
        count = writer.rows
    return {"count": count, "new": count - len(done), "reward": total / max(1, count - len(done))}


def _actions(task: Task, key: str) -> list[str]:
    found = task.data.get(key)
    if found is None:
        raise DataError(
            f"task {task.id!r} has no {key!r} in its data",
            f"set key to one of: {', '.join(sorted(task.data))}",
        )
    return [str(each) for each in found] if isinstance(found, list | tuple) else [str(found)]
