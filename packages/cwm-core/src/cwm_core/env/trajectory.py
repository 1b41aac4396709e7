"""Trajectory: the record of one episode, with exact token ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Turn:
    """A contiguous run of tokens by one author.

    `role` is ``"prompt"``, ``"action"`` or ``"observation"``. `logprobs` (nats) are the engine's,
    one per token, for actions only; `loss_mask` marks the tokens that may be trained on.
    """

    role: str
    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    loss_mask: tuple[bool, ...] | None = None
    model_version: int | None = None


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode. `exit_reason` is a short stable word (``"done"``, ``"turn_limit"``, ...)."""

    task_id: str
    turns: tuple[Turn, ...]
    rewards: Mapping[str, float] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)
    exit_reason: str = "done"
    metadata: Mapping[str, Any] = field(default_factory=dict)
