"""Activation checkpointing: what a layer keeps for the backward pass, and what it computes again.

Arithmetic against memory (arXiv 1604.06174, 2205.05198). `full` keeps the input of each layer;
`selective` keeps also what is dear to compute and small: the outputs of attention and of all
matrix products that are no wider than the residual stream. The inner values of the feed-forward
block, which are the most of a layer, and everything elementwise are computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from cwm_train.model.transformer import CwmForCausalLM, DecoderLayer

Mode = Literal["none", "selective", "full"]

_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
}


def apply_activation_checkpointing(model: CwmForCausalLM, mode: Mode) -> None:
    """Make the layers of a model recompute; before `fully_shard` and `torch.compile`.

    Losses and gradients stay the same. Without gradients, or with a cache, nothing is kept anyway
    and layers run as ever. Raises ValueError for an unknown mode.
    """
    if mode not in ("none", "selective", "full"):
        raise ValueError(f"unknown mode {mode!r} of activation checkpointing")
    run: Callable[..., Tensor] | None = None
    if mode != "none":
        options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        if mode == "selective":
            policy = partial(_policy, model.config.hidden_size)
            options["context_fn"] = partial(create_selective_checkpoint_contexts, policy)
        run = partial(checkpoint, **options)
    for layer in cast("Iterable[DecoderLayer]", model.model.layers):
        layer.recompute = run


def _policy(
    width: int, context: Any, operation: Any, *args: Any, **kwargs: Any
) -> CheckpointPolicy:
    narrow = operation is torch.ops.aten.mm.default and args[1].shape[1] <= width
    if narrow or operation in _ATTENTION:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE
