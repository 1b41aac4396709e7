"""What the choice of inputs may cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Budget(BaseModel):
    """What may be spent on one function."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    candidates: int = Field(default=120, ge=1)
    """Most inputs that are tried."""
    seconds: float = Field(default=60.0, gt=0)
    """Most time for all executions together. Reaching it makes the choice depend on the machine;
    it is counted."""
    kept: int = Field(default=5, ge=1)
    """Most inputs that are kept."""
    turn: int = Field(default=15, ge=1)
    """Inputs that each generator may propose before the next one has its turn."""
    patience: int = Field(default=1, ge=1)
    """Rounds of all generators without a new line or branch after which the search ends."""
