"""Reward: scores a finished trajectory, on the trusted side only."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from cwm_core.env.environment import Task
from cwm_core.env.trajectory import Trajectory


@runtime_checkable
class Reward(Protocol):
    """Scores a finished trajectory."""

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Return the reward of `trajectory`; must not run untrusted code in this process."""
        ...
