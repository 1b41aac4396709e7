"""Playing the episodes of a group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cwm_core.engine.base import Completion, Engine, SamplingParams, Scores
from cwm_core.env.environment import Environment, Task
from cwm_core.env.reward import Reward
from cwm_core.env.rollout import Limits, TextCoder, rollout
from cwm_rl.rollout.grading import Graded, grade
from cwm_rl.rollout.guard import GuardedEnvironment
from cwm_rl.rollout.ledger import Admission
from cwm_rl.rollout.seeds import derived
from cwm_rl.tasks.config import TaskConfig


@dataclass(frozen=True, slots=True)
class Playground:
    """What the episodes of one environment are played with."""

    environment: Environment
    config: TaskConfig
    rewards: Mapping[str, Reward]
    stop_token_ids: tuple[int, ...]
    vocab_size: int
    context_tokens: int
    """Tokens of an episode, at most."""
    tokenizer: TextCoder | None = None
    begin_id: int | None = None
    """Token that every prompt begins with."""


class SeededEngine:
    """An engine whose every answer in an episode has a seed of its own.

    An episode that is played again after a crash draws the same tokens from the same weights; so
    long episodes, which crashes hit more often, are neither favoured nor avoided.
    """

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine, self._seed, self._turn = engine, seed, 0

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Continue `prompt_ids`."""
        seed = derived(self._seed, self._turn)
        self._turn += 1
        return await self._engine.generate(prompt_ids, replace(params, seed=seed))

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Score a whole sequence."""
        return await self._engine.score(token_ids)

    async def close(self) -> None:
        """Leave the engine to its owner."""


async def play_group(
    admission: Admission,
    task: Task,
    ground: Playground,
    engine: Engine,
    size: int,
    step: Callable[[], int],
) -> list[Graded]:
    """Play `size` episodes of a task at once and grade them.

    Episodes that the environment or a reward spoilt are tried again, `retries` times. `step` is
    asked for the trainer's step when an episode has ended. Raises EngineError when no engine
    answers.
    """
    async with asyncio.TaskGroup() as tasks:
        members = [
            tasks.create_task(_play(admission, task, ground, engine, index, step))
            for index in range(size)
        ]
    return [member.result() for member in members]


async def _play(
    admission: Admission,
    task: Task,
    ground: Playground,
    engine: Engine,
    index: int,
    step: Callable[[], int],
) -> Graded:
    if admission.hint:
        task = replace(task, metadata={**task.metadata, "show_hint": True})
    config = ground.config
    environment = GuardedEnvironment(ground.environment, config.step_timeout_s, ground.begin_id)
    params = SamplingParams(admission.max_tokens, 1.0, stop_token_ids=ground.stop_token_ids)
    context = config.context_tokens or ground.context_tokens
    limits = Limits(config.max_turns, min(context, ground.context_tokens), config.timeout_s)
    for attempt in range(config.retries + 1):
        player = SeededEngine(engine, derived(admission.seed, index, attempt))
        trajectory = await rollout(
            environment, task, player, params, limits=limits, tokenizer=ground.tokenizer
        )
        notes: dict[str, Any] = {"group": admission.id, "member": index, "attempt": attempt}
        trajectory = replace(trajectory, metadata={**trajectory.metadata, **notes})
        graded = await grade(
            trajectory,
            config,
            ground.rewards,
            step=step(),
            max_tokens=admission.max_tokens,
            vocab_size=ground.vocab_size,
        )
        if not graded.failed:
            break
    return graded
