"""How the tasks of one environment are played and graded."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Handling = Literal["keep", "mask", "penalise"]


class Part(BaseModel):
    """Base of parts of a configuration: frozen, no unknown keys, a docstring per field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Schedule(Part):
    """A value that moves on a straight line from `start` to `end`, and stays there."""

    start: float
    """Value at the first step."""
    end: float
    """Value from `steps` on."""
    steps: int = Field(gt=0)
    """Optimizer steps that the change takes."""

    def at(self, step: int) -> float:
        """Return the value at a step."""
        return self.start + (self.end - self.start) * min(1.0, max(0.0, step / self.steps))


class FailureHandling(Part):
    """What becomes of episodes that did not end as they should.

    ``keep``: graded like any other; ``penalise``: their return is `penalty`; ``mask``: they take
    no part in the loss and in the group's mean. All are stored and counted.
    """

    environment_error: Handling = "mask"
    """The environment raised or did not answer in time."""
    reward_error: Handling = "mask"
    """A reward raised, did not answer in time, or is no number within `reward_range`."""
    time_limit: Handling = "penalise"
    """`timeout_s` was over."""
    turn_limit: Handling = "keep"
    """`max_turns` were used."""
    token_limit: Handling = "keep"
    """`context_tokens` were used."""
    truncated: Handling = "keep"
    """An action was cut off at its most tokens; DAPO masks such episodes."""
    gibberish: Handling = "mask"
    """CWM's filter: a rare token at a probability that only broken sampling gives."""
    penalty: float = -1.0
    """Return of penalised episodes."""


class TaskConfig(Part):
    """How the tasks of one environment are played and graded."""

    share: float = Field(1.0, gt=0)
    """Share of the generated tokens, relative to the other environments."""
    split: str = "train"
    """Split of the tasks."""
    limit: int | None = Field(None, gt=0)
    """Take so many tasks of the split, the first."""
    rewards: dict[str, float] = {"environment": 1.0}
    """Weights by name: of the slot ``rewards``, or ``environment`` for what it gave itself. The
    return of an episode is the weighted sum."""
    solved_at: float = 1.0
    """Return from which an episode counts as solved, for curricula and reports."""
    reward_range: tuple[float, float] = (-100.0, 100.0)
    """Rewards outside are errors."""
    max_turns: int = Field(16, gt=0)
    """Actions per episode."""
    max_tokens: int = Field(256, gt=0)
    """Tokens per action."""
    context_tokens: int | None = Field(None, gt=0)
    """Tokens of an episode, shown ones included; the model's context by default."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds per episode."""
    step_timeout_s: float = Field(120.0, gt=0)
    """Seconds for one step of the environment, or one reward."""
    retries: int = Field(1, ge=0)
    """Further tries of an episode in which the environment or a reward failed."""
    failures: FailureHandling = FailureHandling()
    """What becomes of episodes that did not end as they should."""
    solve_rates: tuple[float, float] | None = None
    """Keep to tasks whose share of solved episodes was within this window when last played; CWM:
    0.1 to 0.7."""
    revisit: float = Field(0.1, ge=0, le=1)
    """Chance of a task outside the window to be played nevertheless, since the policy changes."""
    length: Schedule | None = None
    """Tokens per action over the steps, up to `max_tokens`."""
    overlength: Schedule | None = None
    """Weight over the steps of a penalty on solved episodes that are long: falls linearly from 0
    at `overlength_from` of the most tokens to minus this weight at all of them."""
    overlength_from: float = Field(0.5, ge=0, lt=1)
    """Where the penalty starts, as a share of `max_tokens`."""
    hints: Schedule | None = None
    """Share over the steps of prompts that show the task's hint, if it has one."""

    @model_validator(mode="after")
    def _ranges(self) -> TaskConfig:
        for name in ("reward_range", "solve_rates"):
            pair = getattr(self, name)
            if pair is not None and not pair[0] < pair[1]:
                raise ValueError(f"{name} {pair}: the first must be smaller")
        if not self.rewards:
            raise ValueError("rewards is empty: name at least one")
        return self
