"""Episodes as immutable values: branch one by advancing it twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cwm_core.env.environment import Action, Environment, Observation, Task, Transition
from cwm_core.env.trajectory import Turn
from cwm_core.errors import DataError


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode so far; `state` is the environment's own."""

    task: Task
    state: Any
    observations: tuple[Observation, ...]
    actions: tuple[Action, ...] = ()
    rewards: tuple[float | None, ...] = ()
    """What the environment gave for `start` and for every action."""
    info: Mapping[str, Any] | None = None
    """The last transition's."""
    done: bool = False

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Prompt, actions and observations in the order of play."""
        turns = [_shown_turn(self.observations[0], "prompt")]
        for action, observation in zip(self.actions, self.observations[1:], strict=True):
            turns.append(_action_turn(action))
            if observation.text or observation.token_ids:
                turns.append(_shown_turn(observation, "observation"))
        return tuple(turns)

    def context_ids(self) -> list[int]:
        """Return the tokens of all turns.

        Raises:
            DataError: a turn has text only.
        """
        ids: list[int] = []
        for turn in self.turns:
            if turn.token_ids is None and turn.text:
                raise DataError(
                    f"a turn of task {self.task.id!r} has no token ids, which an engine needs",
                    "build the environment with a tokenizer, or give `rollout` one",
                )
            ids.extend(turn.token_ids or ())
        return ids


async def begin(environment: Environment, task: Task) -> Episode:
    """Start an episode."""
    first = await environment.start(task)
    return Episode(
        task, first.state, (first.observation,), (), (first.reward,), first.info, first.done
    )


async def advance(environment: Environment, episode: Episode, action: Action) -> Episode:
    """Apply an action; `episode` itself stays as it is."""
    return _after(episode, action, await environment.step(episode.state, action))


def _after(episode: Episode, action: Action, step: Transition) -> Episode:
    return Episode(
        task=episode.task,
        state=step.state,
        observations=(*episode.observations, step.observation),
        actions=(*episode.actions, action),
        rewards=(*episode.rewards, step.reward),
        info=step.info,
        done=step.done,
    )


def _shown_turn(observation: Observation, role: str) -> Turn:
    ids = observation.token_ids
    return Turn(role, observation.text, ids, None, None if ids is None else (False,) * len(ids))


def _action_turn(action: Action) -> Turn:
    ids = action.token_ids
    mask = None if ids is None else (True,) * len(ids)
    return Turn("action", action.text, ids, action.logprobs, mask, action.model_versions)
