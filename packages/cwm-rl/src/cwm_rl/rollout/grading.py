"""From a played episode to its return, and whether it can be learnt from."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cwm_core.env.reward import Reward
from cwm_core.env.trajectory import ExitReason, Trajectory, task_of
from cwm_rl.algorithm.filters import is_gibberish
from cwm_rl.rollout.group import RETURN
from cwm_rl.tasks.config import Handling, TaskConfig
from cwm_rl.tasks.curriculum import overlength_penalty

ENVIRONMENT = "environment"
"""Name of the reward that the environment gave itself."""


@dataclass(frozen=True, slots=True)
class Graded:
    """An episode with its return in ``rewards``, unless it is masked."""

    trajectory: Trajectory
    masked: str = ""
    """Why it takes no part; empty if it does."""
    solved: bool = False

    @property
    def failed(self) -> bool:
        """Whether the environment or a reward is to blame: another try may go well."""
        return self.masked in (ExitReason.ENVIRONMENT_ERROR, "reward_error")


async def grade(
    trajectory: Trajectory,
    config: TaskConfig,
    rewards: Mapping[str, Reward],
    *,
    step: int,
    max_tokens: int,
    vocab_size: int,
) -> Graded:
    """Score an episode and decide what becomes of it; never raises for what a reward does.

    `step` is the trainer's and `max_tokens` the most tokens of an action, for the penalty on
    length. The return is the weighted sum of the rewards.
    """
    problem = _ended_badly(trajectory, vocab_size)
    handling: Handling = getattr(config.failures, problem) if problem else "keep"
    if handling == "mask":
        return Graded(trajectory, problem)
    if handling == "penalise":
        return Graded(_with(trajectory, {RETURN: config.failures.penalty}))
    try:
        scores = await _scores(trajectory, config, rewards)
    except Exception as error:  # a reward may raise anything
        noted = {**trajectory.outcome, "reward_error": repr(error)}
        return _reward_failed(replace(trajectory, outcome=noted), config)
    total = sum(config.rewards[name] * value for name, value in scores.items())
    solved = total >= config.solved_at
    if solved:
        total += overlength_penalty(config, step, trajectory.action_tokens, max_tokens)
    return Graded(_with(trajectory, {**scores, RETURN: total}), solved=solved)


def _ended_badly(trajectory: Trajectory, vocab_size: int) -> str:
    """Return the field of `FailureHandling` that an episode falls under, empty if none."""
    reason = trajectory.exit_reason
    if reason in (ExitReason.ENVIRONMENT_ERROR, ExitReason.AGENT_ERROR):
        return ExitReason.ENVIRONMENT_ERROR.value
    for turn in trajectory.actions:
        ids, logprobs = turn.token_ids, turn.logprobs
        if ids and logprobs and is_gibberish(ids, logprobs, vocab_size=vocab_size):
            return "gibberish"
    if reason != ExitReason.DONE:
        return str(reason)
    return "truncated" if trajectory.metadata.get("cut_off_actions") else ""


async def _scores(
    trajectory: Trajectory, config: TaskConfig, rewards: Mapping[str, Reward]
) -> dict[str, float]:
    task = task_of(trajectory)
    scores = {}
    for name in config.rewards:
        if name == ENVIRONMENT:
            value = trajectory.rewards.get(ENVIRONMENT, 0.0)
        else:
            async with asyncio.timeout(config.step_timeout_s):
                value = float(await rewards[name].score(task, trajectory))
        low, high = config.reward_range
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"reward '{name}' is {value}, outside of {low:g} to {high:g}")
        scores[name] = value
    return scores


def _reward_failed(trajectory: Trajectory, config: TaskConfig) -> Graded:
    handling = config.failures.reward_error
    if handling == "mask":
        return Graded(trajectory, "reward_error")
    value = config.failures.penalty if handling == "penalise" else 0.0
    return Graded(_with(trajectory, {RETURN: value}))


def _with(trajectory: Trajectory, rewards: Mapping[str, float]) -> Trajectory:
    return replace(trajectory, rewards={**trajectory.rewards, **rewards})
