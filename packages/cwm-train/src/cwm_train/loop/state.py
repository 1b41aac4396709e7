"""How far a run is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from cwm_train.data.stream import Position
from cwm_train.loop.config import TrainConfig


@dataclass
class TrainState:
    """Counters that a checkpoint restores."""

    step: int = 0
    tokens: int = 0
    """Tokens of documents seen."""
    loss_tokens: int = 0
    """Of these, tokens that carried loss."""
    elapsed_s: float = 0.0
    """Training time over all starts."""
    bad_steps: int = 0
    """Steps in a row, up to now, that were skipped."""
    skipped_steps: int = 0
    """Steps that were skipped, in all."""
    position: Position = field(default_factory=Position)
    recent: dict[str, list[float]] = field(default_factory=dict)
    """Losses and gradient norms of the last steps, by which a spike is known."""
    window: dict[str, Any] = field(default_factory=dict)
    """What has been gathered for the next line of metrics."""
    schedule: float = 0.0
    """Position in the learning rate's schedule, 0 to 1."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainState:
        """Inverse of `to_dict`."""
        return cls(**{**values, "position": Position(**values["position"])})


def progress_of(state: TrainState, config: TrainConfig) -> float:
    """Return the used share of the budget (the largest, if several are set); 1 ends the run."""
    shares = []
    if config.max_steps is not None:
        shares.append(state.step / config.max_steps)
    if config.max_tokens is not None:
        shares.append(state.tokens / config.max_tokens)
    if config.max_minutes is not None:
        shares.append(state.elapsed_s / (60 * config.max_minutes))
    return max(shares)
