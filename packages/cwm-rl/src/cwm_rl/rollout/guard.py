"""An environment whose steps end in time, and whose prompts begin as they should."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cwm_core.env.environment import (
    Action,
    Environment,
    Observation,
    ReleasingEnvironment,
    Task,
    Transition,
)


class GuardedEnvironment:
    """Plays `environment`; a step that takes longer than `timeout_s` raises TimeoutError.

    `begin` is put in front of prompts that do not begin with it: models are trained on sequences
    that do. A step that blocks its thread instead of awaiting cannot be ended from here: such
    environments belong in processes of their own, as sandboxes are.
    """

    def __init__(
        self, environment: Environment, timeout_s: float, begin: int | None = None
    ) -> None:
        self._environment, self._timeout_s, self._begin = environment, timeout_s, begin

    def tasks(self, split: str) -> Iterable[Task]:
        """Yield the tasks of a split."""
        return self._environment.tasks(split)

    async def start(self, task: Task) -> Transition:
        """Begin an episode."""
        first = await self._timed(self._environment.start(task), "start")
        return replace(first, observation=self._begun(first.observation))

    async def step(self, state: Any, action: Action) -> Transition:
        """Apply an action."""
        return await self._timed(self._environment.step(state, action), "step")

    async def release(self, state: Any) -> None:
        """Free what is held for an episode, where the environment holds anything."""
        if isinstance(self._environment, ReleasingEnvironment):
            await self._environment.release(state)

    def _begun(self, shown: Observation) -> Observation:
        ids = shown.token_ids
        if self._begin is None or not ids or ids[0] == self._begin:
            return shown
        return replace(shown, token_ids=(self._begin, *ids))

    async def _timed(self, work: Any, name: str) -> Transition:
        try:
            async with asyncio.timeout(self._timeout_s):
                done: Transition = await work
                return done
        except TimeoutError:
            raise TimeoutError(f"`{name}` took longer than {self._timeout_s:g} s") from None
