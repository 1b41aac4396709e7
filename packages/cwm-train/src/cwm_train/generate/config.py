"""Configuration of the local engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.engine.base import Engine


class Local(ComponentConfig):
    """A model directory, run in this process; concurrent calls share batches."""

    checkpoint: Path
    """Model directory: ``model`` of a training run, or one of its checkpoints."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; auto takes a GPU if there is one."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of weights and cache; auto takes bf16 where the hardware multiplies it fast."""
    max_batch: int = Field(32, gt=0)
    """Most sequences that are generated at once."""
    max_score_tokens: int = Field(16384, gt=0)
    """Most tokens, padding included, in one scoring batch."""
    threads: int | None = Field(None, gt=0)
    """CPU threads; torch's choice by default."""

    def build(self) -> Engine:
        """Load the model and start the worker thread."""
        from cwm_train.generate.engine import build_engine

        return build_engine(self)
