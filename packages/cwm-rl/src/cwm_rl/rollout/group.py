"""The contract between rollouts and trainer: a stored group of trajectories.

A group is several episodes of one task. The orchestrator writes it, whole, as one JSON file; the
trainer reads it. Everything that learning needs is in it: exact token ids, the engine's
log-probabilities, the version of the weights of every token, and one advantage per episode.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cwm_core.data.records import trajectory_from_row, trajectory_to_row
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError

RETURN = "return"
"""Key in `Trajectory.rewards` of what was learnt from: the weighted sum of the others."""


class Status(StrEnum):
    """What became of a group; every admitted one ends as one of the last four."""

    READY = "ready"
    """Waits for the trainer."""
    TRAINED = "trained"
    STALE = "stale"
    """Every episode was older than the bound when the trainer came to it."""
    NO_SIGNAL = "no_signal"
    """All advantages are zero: nothing to learn."""
    FAILED = "failed"
    """No episode of it can be used."""


@dataclass(frozen=True, slots=True)
class Member:
    """One episode of a group."""

    trajectory: Trajectory
    advantage: float
    trained: bool
    """Whether it enters the loss."""
    reason: str = ""
    """Why not."""

    @property
    def trained_tokens(self) -> int:
        """Number of tokens that carry loss."""
        return trained_tokens(self.trajectory) if self.trained else 0

    @property
    def newest_version(self) -> int | None:
        """Version of the weights that produced the newest token, `None` if unknown."""
        return max(
            (v for turn in self.trajectory.actions for v in turn.model_versions or ()), default=None
        )

    @property
    def oldest_version(self) -> int | None:
        """Version of the weights that produced the oldest token, `None` if unknown."""
        return min(
            (v for turn in self.trajectory.actions for v in turn.model_versions or ()), default=None
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Several episodes of one task."""

    id: int
    """Number of its admission, from 0."""
    task: str
    """Name of its environment in the configuration."""
    task_id: str
    status: Status
    members: tuple[Member, ...]
    solved: float = 0.0
    """Share of the members that solved the task."""

    @property
    def trained_tokens(self) -> int:
        """Number of tokens that carry loss, of all members."""
        return sum(member.trained_tokens for member in self.members)

    @property
    def returns(self) -> list[float]:
        """Returns of the members that have one."""
        return [
            m.trajectory.rewards[RETURN] for m in self.members if RETURN in m.trajectory.rewards
        ]

    @property
    def generated_tokens(self) -> int:
        """Number of tokens that engines produced for it."""
        return sum(member.trajectory.action_tokens for member in self.members)

    def to_json(self) -> str:
        """Return the file's content; DataError when a trajectory holds what JSON cannot."""
        members = [
            {
                "trajectory": trajectory_to_row(member.trajectory, f"{self.id}-{index}"),
                "advantage": member.advantage,
                "trained": member.trained,
                "reason": member.reason,
            }
            for index, member in enumerate(self.members)
        ]
        fields = {name: getattr(self, name) for name in ("id", "task", "task_id", "solved")}
        return json.dumps({**fields, "status": self.status.value, "members": members})

    @classmethod
    def from_json(cls, text: str | bytes) -> Group:
        """Rebuild a group; DataError when it is none."""
        try:
            content: Mapping[str, Any] = json.loads(text)
            members = tuple(
                Member(
                    trajectory_from_row(m["trajectory"]), m["advantage"], m["trained"], m["reason"]
                )
                for m in content["members"]
            )
            names = ("id", "task", "task_id", "solved")
            return cls(
                **{name: content[name] for name in names},
                status=Status(content["status"]),
                members=members,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"no stored group: {error!r}") from error


def trained_tokens(trajectory: Trajectory) -> int:
    """Return how many tokens of a trajectory may carry loss: the actions' own."""
    return sum(sum(turn.loss_mask or ()) for turn in trajectory.actions)
