"""One model made ready for the processes and the hardware of a run."""

from __future__ import annotations

import torch

from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.context import ContextAttention
from cwm_train.parallel.fsdp import shard
from cwm_train.parallel.mesh import Grid
from cwm_train.parallel.tensor import spread_products


def spread(
    model: CwmForCausalLM,
    grid: Grid,
    compute: torch.dtype | None = None,
    reshard_after_forward: bool = True,
) -> None:
    """Spread a model over a grid, in place; every process has built the same one.

    Its parameters become DTensors. `compute` is the precision of the layers, that of the
    parameters if `None`.
    """
    if grid.sizes.context > 1:
        model.model.attention = ContextAttention(
            model.model.attention, grid.batch["context"].get_group()
        )
    if grid.sizes.tensor > 1:
        spread_products(model, grid.parameters["tensor"])
    shard(model, grid, compute, reshard_after_forward)
