"""An environment whose steps end in time, whatever it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from cwm_core.env.environment import Action, Environment, Task, Transition


class TimedEnvironment:
    """Plays `environment`; a step that takes longer than `timeout_s` raises TimeoutError.

    A step that blocks its thread instead of awaiting cannot be ended from here: such environments
    belong in processes of their own, as sandboxes are.
    """

    def __init__(self, environment: Environment, timeout_s: float) -> None:
        self._environment, self._timeout_s = environment, timeout_s

    def tasks(self, split: str) -> Iterable[Task]:
        """Yield the tasks of a split."""
        return self._environment.tasks(split)

    async def start(self, task: Task) -> Transition:
        """Begin an episode."""
        return await self._timed(self._environment.start(task), "start")

    async def step(self, state: Any, action: Action) -> Transition:
        """Apply an action."""
        return await self._timed(self._environment.step(state, action), "step")

    async def _timed(self, work: Any, name: str) -> Transition:
        try:
            async with asyncio.timeout(self._timeout_s):
                done: Transition = await work
                return done
        except TimeoutError:
            raise TimeoutError(f"`{name}` took longer than {self._timeout_s:g} s") from None
