"""One model made ready for the processes and the hardware of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cwm_train.attention.base import Attention
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.context import ContextAttention
from cwm_train.parallel.fsdp import forget_gathered, shard
from cwm_train.parallel.mesh import Grid
from cwm_train.parallel.tensor import spread_products


def spread(
    model: CwmForCausalLM,
    grid: Grid,
    compute: torch.dtype | None = None,
    reshard_after_forward: bool = True,
    z_loss: float = 0.0,
) -> None:
    """Spread a model over a grid, in place; every process has built the same one.

    Its parameters become DTensors. `compute` is the precision of the layers, that of the
    parameters if `None`. `z_loss` is the weight of that term of the loss.
    """
    if grid.sizes.context > 1:
        attention: Attention = ContextAttention(
            model.model.attention, grid.batch["context"].get_group()
        )
        model.model.attention = attention
    if grid.sizes.tensor > 1:
        spread_products(model, grid.parameters["tensor"], z_loss)
    shard(model, grid, compute, reshard_after_forward)


@contextmanager
def whole_sequences(model: CwmForCausalLM) -> Iterator[None]:
    """While the block runs, sequences are not cut: every process has rows of its own to evaluate.

    Processes still work together, weight by weight: all need equally many forward passes. After
    the block no gathered weights are left.
    """
    attention = model.model.attention
    if isinstance(attention, ContextAttention):
        attention.whole = True
    try:
        yield
    finally:
        if isinstance(attention, ContextAttention):
            attention.whole = False
        forget_gathered(model)
