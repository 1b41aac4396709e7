"""Several rewards as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cwm_core.env.environment import Task
from cwm_core.env.reward import Reward
from cwm_core.env.trajectory import Trajectory

_MODES: dict[str, Callable[[Iterable[float]], float]] = {
    "sum": math.fsum,
    "product": math.prod,
    "least": min,
}


@dataclass(frozen=True, slots=True)
class Combined:
    """The reward of `CombinedConfig`."""

    parts: Mapping[str, Reward]
    weights: Mapping[str, float]
    mode: str

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Combine the weighted scores of all parts."""
        scores = [
            self.weights[name] * await part.score(task, trajectory)
            for name, part in self.parts.items()
        ]
        return float(_MODES[self.mode](scores))
