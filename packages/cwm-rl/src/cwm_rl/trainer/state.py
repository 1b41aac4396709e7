"""How far a run is, and which groups it has learnt from; a checkpoint holds both together."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class RlState:
    """Counters that a checkpoint restores."""

    step: int = 0
    """Optimizer steps; the version of the weights."""
    tokens: int = 0
    """Trained tokens."""
    episodes: int = 0
    """Trained episodes."""
    elapsed_s: float = 0.0
    """Time over all starts."""
    bad_steps: int = 0
    """Steps in a row, up to now, that were skipped."""
    used: dict[int, int] = field(default_factory=dict)
    """Step in which each group was used, -1 for one that was too old; of groups whose files still
    exist."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RlState:
        """Inverse of `to_dict`, after JSON."""
        used = {int(group): step for group, step in values["used"].items()}
        return cls(**{**values, "used": used})
