"""Task, Environment and Agent: the meeting point of data collection, RL and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Task:
    """One problem instance: `data` is what its environment needs, `metadata` is for reports."""

    id: str
    data: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    split: str = "test"


@dataclass(frozen=True, slots=True)
class Action:
    """What an agent or engine produced in one turn; exact token ids where an engine made them."""

    text: str = ""
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    """Nats, one per token."""
    finish_reason: str | None = None
    """The engine's: ``"stop"``, or ``"length"`` when the action was cut off."""
    model_versions: tuple[int, ...] | None = None
    """Version of the weights that produced each token, where the engine says."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the environment shows next: token ids to continue from, or text, or both."""

    text: str = ""
    token_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """Result of a step: the next state (states are immutable, episodes can be branched)."""

    state: Any
    observation: Observation
    done: bool
    reward: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Environment(Protocol):
    """A set of tasks with dynamics."""

    def tasks(self, split: str) -> Iterable[Task]:
        """Yield the tasks of a split, in a stable order."""
        ...

    async def start(self, task: Task) -> Transition:
        """Begin an episode: the initial state and the prompt as its observation."""
        ...

    async def step(self, state: Any, action: Action) -> Transition:
        """Apply an action to a state and return the next; never mutates `state`."""
        ...


@runtime_checkable
class ReleasingEnvironment(Environment, Protocol):
    """An environment that holds something for an episode, such as a container."""

    async def release(self, state: Any) -> None:
        """Free what is held for `state`: its episode goes on no further; twice is fine.

        `rollout` calls it when an episode ends, at a limit and after an error too.
        """
        ...


@runtime_checkable
class Agent(Protocol):
    """Decides the next action from what it was shown."""

    async def act(
        self, observations: tuple[Observation, ...], actions: tuple[Action, ...]
    ) -> Action:
        """Return the next action; `observations` is one longer than `actions`."""
        ...
