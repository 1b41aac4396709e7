"""Attention for training small models on CPUs: batched matrix products over blocks of queries.

For documents of a few hundred tokens and narrow heads, the products over blocks, which skip all
keys behind the window or after the block, run forward and backward in about half the time of
torch's fused kernel. Weights are kept for the backward pass, so long documents, other devices,
other precisions and caches go to `SdpaAttention`.
Shapes: M row-heads, N tokens of a document, C queries of a block, S keys, E head width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from cwm_train.attention.base import Layout
from cwm_train.attention.sdpa import Dense, SdpaAttention, Segmented, attend_document

BLOCK = 64
LONGEST = 2048
"""Documents with more tokens use the fused kernel, which keeps no weights."""


@lru_cache(maxsize=256)
def _bias(queries: int, keys: int, window: int) -> Tensor:
    """Return the additive mask (C, S) of queries that are the last of the keys."""
    gap_cs = torch.arange(keys - queries, keys)[:, None] - torch.arange(keys)
    return torch.zeros(queries, keys).masked_fill((gap_cs < 0) | (gap_cs >= window), -1e30)


def _blocks(tokens: int, window: int) -> list[tuple[int, int, int]]:
    """Return (first query, end, first key) of every block."""
    return [
        (start, min(start + BLOCK, tokens), max(0, start - window + 1))
        for start in range(0, tokens, BLOCK)
    ]


class _BlockedCausal(torch.autograd.Function):
    """Causal attention on (M, N, E) tensors."""

    @staticmethod
    def forward(ctx: Any, q_mne: Tensor, k_mne: Tensor, v_mne: Tensor, window: int) -> Tensor:
        scale, out_mne, kept = q_mne.shape[2] ** -0.5, torch.empty_like(q_mne), []
        for start, end, first in _blocks(q_mne.shape[1], window):
            bias_cs = _bias(end - start, end - first, window)
            scores_mcs = torch.baddbmm(
                bias_cs, q_mne[:, start:end], k_mne[:, first:end].mT, alpha=scale
            )
            weights_mcs = scores_mcs.softmax(-1)
            out_mne[:, start:end] = torch.bmm(weights_mcs, v_mne[:, first:end])
            kept.append(weights_mcs)
        ctx.save_for_backward(q_mne, k_mne, v_mne, *kept)
        ctx.window = window
        return out_mne

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_mne, k_mne, v_mne, *kept = ctx.saved_tensors
        dq_mne = torch.empty_like(q_mne)
        dk_mne, dv_mne = torch.zeros_like(k_mne), torch.zeros_like(v_mne)
        for weights_mcs, (start, end, first) in zip(kept, _blocks(q_mne.shape[1], ctx.window)):
            grad_mce = grads[0][:, start:end]
            dv_mne[:, first:end] += torch.bmm(weights_mcs.mT, grad_mce)
            dweights_mcs = torch.bmm(grad_mce, v_mne[:, first:end].mT)
            dscores_mcs = torch._softmax_backward_data(
                dweights_mcs, weights_mcs, -1, weights_mcs.dtype
            )
            dq_mne[:, start:end] = torch.bmm(dscores_mcs, k_mne[:, first:end])
            dk_mne[:, first:end] += torch.bmm(dscores_mcs.mT, q_mne[:, start:end])
        scale = q_mne.shape[2] ** -0.5
        return dq_mne.mul_(scale), dk_mne.mul_(scale), dv_mne, None


class ChunkedAttention:
    """Blocks of queries for training on a CPU, torch's kernels for everything else."""

    def __init__(self) -> None:
        self._sdpa = SdpaAttention()

    def plan(self, layout: Layout, window: int | None) -> Dense | Segmented:
        """Return how to attend."""
        if layout.cached or layout.query_position_bt.device.type != "cpu":
            return self._sdpa.plan(layout, window)
        return Segmented(layout.segments(), window)

    def __call__(
        self, q_bhte: Tensor, k_bgse: Tensor, v_bgse: Tensor, plan: Dense | Segmented
    ) -> Tensor:
        """Attend."""
        training = torch.is_grad_enabled() and q_bhte.dtype == torch.float32
        if not training or isinstance(plan, Dense):
            return self._sdpa(q_bhte, k_bgse, v_bgse, plan)
        rows, heads, tokens, _ = q_bhte.shape
        groups = heads // k_bgse.shape[1]
        if groups > 1:
            k_bgse, v_bgse = (x.repeat_interleave(groups, 1) for x in (k_bgse, v_bgse))
        if plan.lengths == [tokens] * rows:
            q_mne, k_mne, v_mne = (x.flatten(0, 1) for x in (q_bhte, k_bgse, v_bgse))
            y_mne = _attend(q_mne, k_mne, v_mne, plan.window)
            return y_mne.unflatten(0, (rows, heads))
        qkv = torch.stack([x.transpose(0, 1).flatten(1, 2) for x in (q_bhte, k_bgse, v_bgse)])
        documents = [part.unbind(0) for part in qkv.split(plan.lengths, 2)]
        y_hne = torch.cat([_attend(q, k, v, plan.window) for q, k, v in documents], 1)
        return y_hne.unflatten(1, (rows, tokens)).transpose(0, 1)


def _attend(q_mne: Tensor, k_mne: Tensor, v_mne: Tensor, window: int | None) -> Tensor:
    tokens = q_mne.shape[1]
    if tokens > LONGEST:
        return attend_document(q_mne[None], k_mne[None], v_mne[None], window)[0]
    return _BlockedCausal.apply(q_mne, k_mne, v_mne, min(window or tokens, tokens))
