"""What the model itself says, built on the meta device: no weight is ever allocated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cwm_core.components import ComponentConfig
from cwm_core.errors import ConfigError
from cwm_train.attention.base import Layout
from cwm_train.model.config import CwmModelConfig
from cwm_train.model.transformer import Context, CwmForCausalLM


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters."""

    total: int
    layer: int
    """In one decoder layer."""
    ends: int
    """In embedding, last norm and output head."""
    products: int
    """In matrices that every token is multiplied with: all but norms and the embedding."""
    matrices: int
    """In matrices between hidden layers."""


def model_shape(config: ComponentConfig) -> CwmModelConfig:
    """Return the config as one of a CWM decoder; raises ConfigError if it is none."""
    if not isinstance(config, CwmModelConfig):
        raise ConfigError(
            f"model={config.name} is no CWM decoder", "`cwm plugins models` lists the models"
        )
    return config


def count_parameters(config: CwmModelConfig) -> Parameters:
    """Count the parameters of the model on the meta device."""
    with torch.device("meta"):
        model = CwmForCausalLM(config)
    total = _count(model)
    layers = _count(model.model.layers)
    matrices = sum(p.numel() for p in model.model.layers.parameters() if p.ndim == 2)
    return Parameters(
        total=total,
        layer=layers // config.num_hidden_layers,
        ends=total - layers,
        products=matrices + model.lm_head.weight.numel(),
        matrices=matrices,
    )


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


class _FlashLike(torch.autograd.Function):
    """Keeps what a fused attention kernel keeps: its inputs, its output, one number per query."""

    @staticmethod
    def forward(ctx: Any, q_bhte: Tensor, k_bgte: Tensor, v_bgte: Tensor) -> Tensor:
        y_bhte = torch.empty_like(q_bhte)
        normaliser_bht = q_bhte.new_empty(q_bhte.shape[:3], dtype=torch.float32)
        ctx.save_for_backward(q_bhte, k_bgte, v_bgte, y_bhte, normaliser_bht)
        return y_bhte

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError("only what the forward pass keeps is asked for")


class _FusedAttention:
    def plan(self, layout: Layout, window: int | None) -> None:
        return None

    def __call__(self, q_bhte: Tensor, k_bgse: Tensor, v_bgse: Tensor, plan: None) -> Tensor:
        return _FlashLike.apply(q_bhte, k_bgse, v_bgse)


def kept_bytes(config: CwmModelConfig, tokens: int, dtype: torch.dtype) -> int:
    """Return the bytes of activations that one layer keeps for the backward pass.

    The layer runs forward on the meta device, with a fused attention kernel, and autograd is asked
    what it keeps. Weights are in `dtype`, as FSDP2 gathers them.
    """
    one = config.model_copy(
        update={
            "num_hidden_layers": 1, "vocab_size": 16, "layer_types": None, "init": "normal",
            "pattern": config.pattern[:1],
        }
    )  # fmt: skip
    with torch.device("meta"):
        model = CwmForCausalLM(one, _FusedAttention())
        positions_bt = torch.zeros(1, tokens, dtype=torch.long)
        x_btd = torch.zeros(1, tokens, config.hidden_size, dtype=dtype, requires_grad=True)
        model.to(dtype)
        context = Context(model.model, positions_bt, None, None)
        with _kept_storages(model) as kept:
            model.model.layers[0](x_btd, context)
    return sum(kept.values())


@contextmanager
def _kept_storages(model: nn.Module) -> Iterator[dict[int, int]]:
    """Collect the sizes of the storages that autograd keeps in the block, weights left out."""
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)  # or its storage's address could be given again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield kept


def state_bytes(optimizer: ComponentConfig, config: CwmModelConfig) -> tuple[float, float]:
    """Return bytes of optimizer state per parameter: of hidden matrices, and of all others.

    One step of the optimizer on a small model of the same names tells.
    """
    small = CwmModelConfig(
        vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, head_dim=16,
        tie_word_embeddings=config.tie_word_embeddings,
    )  # fmt: skip
    model = CwmForCausalLM(small)
    engine = optimizer.build(model.named_parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    engine.step()
    matrices = {p for p in model.model.layers.parameters() if p.ndim == 2}
    sums = {True: [0, 0], False: [0, 0]}
    for parameter in model.parameters():
        pair = sums[parameter in matrices]
        pair[0] += sum(x.nbytes for x in engine.state[parameter].values() if _is_large(x))
        pair[1] += parameter.numel()
    return sums[True][0] / sums[True][1], sums[False][0] / sums[False][1]


def _is_large(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0
