"""Weights, gradients and optimizer state spread over processes (FSDP2, arXiv 2304.11277)."""

from __future__ import annotations

import torch
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.mesh import Grid


def shard(
    model: CwmForCausalLM, grid: Grid, compute: torch.dtype | None, reshard_after_forward: bool
) -> None:
    """Shard every layer on its own, and embedding, last norm and head together, in place.

    Weights are gathered in `compute` precision (their own if `None`) while a layer works;
    gradients are summed in fp32. With `replicate` copies, gradients are summed over these, too.
    """
    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32)
    mesh = grid.sharding
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard_after_forward)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    register_fsdp_forward_method(model, "scores")


def forget_gathered(model: CwmForCausalLM) -> None:
    """Drop the weights that a forward pass without backward pass has left gathered.

    They would outlive a change of the weights, as when averages are swapped in for evaluation.
    """
    if isinstance(model, FSDPModule):
        model.reshard()
