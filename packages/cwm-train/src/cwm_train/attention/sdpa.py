"""Attention through torch's `scaled_dot_product_attention`.

On a CPU a dense mask would make packed documents pay for pairs that never see each other. There
each document gets its own causal call; inside a document longer than the window, each block of
queries gets the keys in its reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from cwm_train.attention.base import Layout


@dataclass(frozen=True)
class Dense:
    """One call with a mask (B, 1, T, S), or a causal one without."""

    mask: Tensor | None


@dataclass(frozen=True)
class Segmented:
    """One call per document: `lengths` in the rows laid end to end."""

    lengths: list[int]
    window: int | None


class SdpaAttention:
    """Chooses between one masked call and one call per document."""

    def plan(self, layout: Layout, window: int | None) -> Dense | Segmented:
        """Return how to attend."""
        if layout.cached:
            return Dense(layout.visible(window))
        tokens = layout.query_position_bt.shape[1]
        if layout.query_document_bt is None and (window is None or window >= tokens):
            return Dense(None)
        if layout.query_position_bt.device.type == "cpu":
            return Segmented(layout.segments(), window)
        return Dense(layout.visible(window))

    def __call__(
        self, q_bhte: Tensor, k_bgse: Tensor, v_bgse: Tensor, plan: Dense | Segmented
    ) -> Tensor:
        """Attend."""
        if isinstance(plan, Dense):
            return _attend(q_bhte, k_bgse, v_bgse, plan.mask)
        rows, _, tokens, _ = q_bhte.shape
        parts = zip(*(_lay_end_to_end(x).split(plan.lengths, 2) for x in (q_bhte, k_bgse, v_bgse)))
        y_1hne = torch.cat([attend_document(q, k, v, plan.window) for q, k, v in parts], 2)
        return y_1hne.unflatten(2, (rows, tokens))[0].transpose(0, 1)


def _lay_end_to_end(x_bhte: Tensor) -> Tensor:
    """Return (1, H, B*T, E); a view if the memory order is (B, T, H, E)."""
    return x_bhte.transpose(1, 2).flatten(0, 1).transpose(0, 1)[None]


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    grouped = q.shape[1] != k.shape[1]
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
    )


def attend_document(q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
    """Attend within one document, in blocks of queries where the window is shorter."""
    tokens = q.shape[2]
    if window is None or window >= tokens:
        return _attend(q, k, v, None)
    block = max(window, 64)
    outputs = []
    for start in range(0, tokens, block):
        stop, first = min(start + block, tokens), max(0, start - window + 1)
        mask = _band(stop - start, stop - first, window, q.device)
        outputs.append(_attend(q[:, :, start:stop], k[:, :, first:stop], v[:, :, first:stop], mask))
    return torch.cat(outputs, 2)


@lru_cache(maxsize=64)
def _band(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """Return the mask (T, S) of queries that are the last of the keys."""
    query_t1 = torch.arange(keys - queries, keys, device=device)[:, None]
    gap_ts = query_t1 - torch.arange(keys, device=device)
    return (gap_ts >= 0) & (gap_ts < window)
