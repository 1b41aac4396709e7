"""Attention through torch's FlexAttention: block-sparse masks that cost only what is visible."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from cwm_core.errors import ConfigError
from cwm_train.attention.base import Layout


class FlexAttention:
    """FlexAttention, compiled unless told otherwise."""

    def __init__(self, compile: bool = True, block_size: int = 128) -> None:
        self._block_size = block_size
        self._kernel: Any = torch.compile(flex_attention) if compile else flex_attention

    def plan(self, layout: Layout, window: int | None) -> BlockMask:
        """Return the block mask."""
        rows, queries = layout.query_position_bt.shape
        return create_block_mask(
            _rule(layout, window),
            B=rows,
            H=None,
            Q_LEN=queries,
            KV_LEN=layout.key_position_bs.shape[1],
            device=str(layout.query_position_bt.device),
            BLOCK_SIZE=self._block_size,
        )

    def __call__(self, q_bhte: Tensor, k_bgse: Tensor, v_bgse: Tensor, plan: BlockMask) -> Tensor:
        """Attend; raises ConfigError for training on a CPU."""
        refuse_training_on_cpu(q_bhte)
        grouped = q_bhte.shape[1] != k_bgse.shape[1]
        return self._kernel(q_bhte, k_bgse, v_bgse, block_mask=plan, enable_gqa=grouped)


def refuse_training_on_cpu(query: Tensor) -> None:
    """Raise ConfigError for what torch has no kernel for."""
    if query.device.type == "cpu" and query.requires_grad and torch.is_grad_enabled():
        raise ConfigError(
            "attention=flex cannot train on a CPU: torch has no backward pass for it there",
            "choose attention=chunked or attention=sdpa",
        )


def _rule(layout: Layout, window: int | None) -> Any:
    query_position, key_position = layout.query_position_bt, layout.key_position_bs
    query_document, key_document = layout.query_document_bt, layout.key_document_bs

    def visible(b: Tensor, h: Tensor, t: Tensor, s: Tensor) -> Tensor:
        gap = query_position[b, t] - key_position[b, s]
        seen = gap >= 0
        if window is not None:
            seen = seen & (gap < window)
        if query_document is not None and key_document is not None:
            seen = seen & (query_document[b, t] == key_document[b, s])
        return seen

    return visible
