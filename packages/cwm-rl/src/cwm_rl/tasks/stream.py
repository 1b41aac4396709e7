"""Tasks of one environment in an endless order, and which environment comes next."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import islice

from cwm_core.env.environment import Environment, Task
from cwm_core.errors import DataError
from cwm_rl.tasks.config import TaskConfig


class TaskOrder:
    """All tasks of a split, round after round, each round shuffled anew.

    A position names one task for good: the order depends on the seed alone.
    """

    def __init__(self, name: str, environment: Environment, config: TaskConfig, seed: int) -> None:
        self.name = name
        self._seed = seed
        self.tasks: list[Task] = list(islice(environment.tasks(config.split), config.limit))
        if not self.tasks:
            raise DataError(
                f"environment '{name}' has no tasks of split '{config.split}'",
                f"set tasks.{name}.split",
            )
        self._round = -1
        self._order: list[int] = []

    def at(self, position: int) -> Task:
        """Return the task at a position, from 0 on without end."""
        number, index = divmod(position, len(self.tasks))
        if number != self._round:
            self._round, self._order = number, list(range(len(self.tasks)))
            random.Random(f"{self._seed}:{self.name}:{number}").shuffle(self._order)
        return self.tasks[self._order[index]]


def next_environment(
    shares: Mapping[str, float], tokens: Mapping[str, float], names: Sequence[str]
) -> str:
    """Return the environment that is furthest behind its share of the tokens.

    `tokens` counts those generated and those expected of groups in play.
    """
    return min(names, key=lambda name: (tokens.get(name, 0.0) / shares[name], name))
