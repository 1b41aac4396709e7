"""Matrix products spread over processes: by heads, by columns, by vocabulary.

Megatron's cut (arXiv 1909.08053) with sequence-parallel norms (arXiv 2205.05198), as DTensor plans:
between the products each process holds a stretch of the tokens; a layer gathers them, computes its
heads and columns, and scatters the sum. The loss never gathers logits.
"""

from __future__ import annotations

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    PrepareModuleOutput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from cwm_core.errors import ConfigError
from cwm_train.model.config import CwmModelConfig
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.vocabulary import SpreadHead

_TOKENS = Shard(1)
"""Activations (B, T, D) between the products: a stretch of the tokens."""


def check_divisible(config: CwmModelConfig, tensor: int) -> None:
    """Raise ConfigError that names the first size that `tensor` processes cannot share."""
    for field in ("num_key_value_heads", "num_attention_heads", "intermediate_size", "vocab_size"):
        size = getattr(config, field)
        if size % tensor:
            raise ConfigError(
                f"parallel.tensor={tensor} does not divide the model's {field} ({size})",
                "lower parallel.tensor, and raise parallel.shard or parallel.context instead",
            )


def spread_products(model: CwmForCausalLM, mesh: DeviceMesh, z_loss: float = 0.0) -> None:
    """Spread all matrices of the model over a one-dimensional mesh, in place.

    The loss becomes the cross-entropy over the spread vocabulary, with `z_loss` as in
    `head_cross_entropy`.
    """
    check_divisible(model.config, mesh.size())
    for layer in model.model.layers:
        parallelize_module(layer, mesh, _layer_plan())
    parallelize_module(model, mesh, _ends_plan())
    if model.config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    head = SpreadHead(mesh.get_group(), z_loss)
    model.head_loss, model.head_scores = head.loss, head.scores


def _layer_plan() -> dict[str, ParallelStyle]:
    column, row = ColwiseParallel(), RowwiseParallel(output_layouts=_TOKENS)
    return {
        "input_layernorm": SequenceParallel(),
        "self_attn": PrepareModuleInput(
            input_layouts=(_TOKENS, None), desired_input_layouts=(Replicate(), None)
        ),
        "self_attn.q_proj": column,
        "self_attn.k_proj": column,
        "self_attn.v_proj": column,
        "self_attn.o_proj": row,
        "post_attention_layernorm": SequenceParallel(),
        "mlp": PrepareModuleInput(input_layouts=(_TOKENS,), desired_input_layouts=(Replicate(),)),
        "mlp.gate_proj": column,
        "mlp.up_proj": column,
        "mlp.down_proj": row,
    }


def _ends_plan() -> dict[str, ParallelStyle]:
    return {
        "model.embed_tokens": RowwiseParallel(input_layouts=Replicate(), output_layouts=_TOKENS),
        "model.norm": SequenceParallel(),
        "model": PrepareModuleOutput(output_layouts=_TOKENS, desired_output_layouts=Replicate()),
        "lm_head": ColwiseParallel(output_layouts=Replicate()),
    }
