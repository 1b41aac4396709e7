"""torch.compile for every layer: one compilation serves all layers of a kind."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cwm_train.attention.base import Attention, Layout
from cwm_train.model.transformer import CwmForCausalLM


class UncompiledAttention:
    """Keeps an attention backend out of the graph of its layer.

    Backends choose kernels by the documents of a batch: in the graph, every batch would compile
    anew. FlexAttention compiles its own kernel.
    """

    def __init__(self, inner: Attention) -> None:
        self.inner = inner

    def plan(self, layout: Layout, window: int | None) -> Any:
        """Return what the backend plans."""
        return self.inner.plan(layout, window)

    @torch.compiler.disable(recursive=False)
    def __call__(self, q_bhte: Tensor, k_bgse: Tensor, v_bgse: Tensor, plan: Any) -> Tensor:
        """Attend."""
        return self.inner(q_bhte, k_bgse, v_bgse, plan)


def compile_layers(model: CwmForCausalLM) -> None:
    """Compile every layer, in place; nothing happens before the first forward pass."""
    attention: Attention = UncompiledAttention(model.model.attention)
    model.model.attention = attention
    for layer in model.model.layers:
        layer.compile()
