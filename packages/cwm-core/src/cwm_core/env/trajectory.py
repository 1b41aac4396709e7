"""Trajectory: the record of one episode, with exact token ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cwm_core.env.environment import Task
from cwm_core.errors import DataError


class ExitReason(StrEnum):
    """Why an episode ended."""

    DONE = "done"
    """The environment said so."""
    TURN_LIMIT = "turn_limit"
    TOKEN_LIMIT = "token_limit"
    TIME_LIMIT = "time_limit"
    ENVIRONMENT_ERROR = "environment_error"
    """`start` or `step` raised; `outcome["error"]` says what."""
    AGENT_ERROR = "agent_error"
    """The agent raised; `outcome["error"]` says what."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A contiguous run of tokens by one author.

    `role` is ``"prompt"``, ``"action"`` or ``"observation"``. `logprobs` (nats) are the engine's,
    one per token, for actions only, and so are `model_versions`, the versions of the weights that
    produced the tokens; `loss_mask` marks the tokens that may be trained on.
    """

    role: str
    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    loss_mask: tuple[bool, ...] | None = None
    model_versions: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode: what was shown and done, how it was rewarded, and why it ended.

    `metadata["task"]` holds the task (see `task_metadata`), so that a stored trajectory can be
    scored again without its environment.
    """

    task_id: str
    turns: tuple[Turn, ...]
    rewards: Mapping[str, float] = field(default_factory=dict)
    """By name; ``"environment"`` is the sum of what the environment gave."""
    outcome: Mapping[str, Any] = field(default_factory=dict)
    """What the environment reported at the end."""
    exit_reason: str = ExitReason.DONE.value
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def actions(self) -> tuple[Turn, ...]:
        """The agent's turns, in order."""
        return tuple(turn for turn in self.turns if turn.role == "action")

    @property
    def final_text(self) -> str:
        """Text of the last action, ``""`` where there is none."""
        actions = self.actions
        return actions[-1].text if actions else ""

    @property
    def action_tokens(self) -> int:
        """Number of tokens that the agent produced, 0 where no token ids were kept."""
        return sum(len(turn.token_ids or ()) for turn in self.actions)


def task_metadata(task: Task) -> dict[str, Any]:
    """Return what a trajectory's metadata holds of its task."""
    kept = {"data": dict(task.data), "metadata": dict(task.metadata), "split": task.split}
    return {"task": kept}


def task_of(trajectory: Trajectory) -> Task:
    """Rebuild the task that a trajectory was played on.

    Raises:
        DataError: the trajectory does not carry its task.
    """
    try:
        kept = trajectory.metadata["task"]
        return Task(trajectory.task_id, kept["data"], kept["metadata"], kept["split"])
    except (KeyError, TypeError) as error:
        raise DataError(
            f"the trajectory of task {trajectory.task_id!r} does not carry its task",
            'store it with `metadata["task"]`, as `cwm_core.env.rollout` does',
        ) from error
