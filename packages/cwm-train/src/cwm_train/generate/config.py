"""Configuration of the local engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_train.generate.engine import LocalEngine


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
    cache_tokens: int | None = Field(None, gt=0)
    """Most tokens in the cache: sequences times what the longest may come to need. A request waits
    until it fits; requests are served in their order. By default what half the free memory
    holds."""
    prefix_mib: int | None = Field(None, ge=0)
    """MiB for keys and values of earlier prompts and finished sequences, which requests that begin
    like them reuse; 0 switches reuse off. By default an eighth of the free memory."""
    prefill_chunk: int = Field(512, gt=0)
    """Most prompt tokens that are computed between two steps of the running sequences."""
    after_update: Literal["keep", "recompute"] = "keep"
    """What new weights mean for sequences under way: `keep` their keys and values of the old
    weights (in-flight updates as in PipelineRL, arXiv 2509.19128), or `recompute` them."""
    max_score_tokens: int = Field(16384, gt=0)
    """Most tokens, padding included, in one scoring batch."""
    batch_invariant: bool = False
    """Whether a sequence gets the same numbers whatever else is in the batch, in bf16 too, as sums
    are in fp64; generation takes several times as long."""
    native: bool = True
    """Whether models of up to 64 MiB in their layers, in fp32 on a CPU, are computed by the step in
    C where it was compiled (`cwm doctor` tells), several times as fast."""
    threads: int | None = Field(None, gt=0)
    """CPU threads; torch's choice by default."""

    def build(self) -> LocalEngine:
        """Load the model and start the worker thread."""
        from cwm_train.generate.engine import build_engine

        return build_engine(self)
