"""The slow truth: a dense mask and an explicit softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from cwm_train.attention.base import Layout


class ReferenceAttention:
    """Attention as the formula says, in fp32."""

    def plan(self, layout: Layout, window: int | None) -> Tensor:
        """Return the dense mask, (B, 1, T, S)."""
        return layout.visible(window)

    def __call__(self, q_bhte: Tensor, k_bgse: Tensor, v_bgse: Tensor, plan: Tensor) -> Tensor:
        """Attend."""
        groups = q_bhte.shape[1] // k_bgse.shape[1]
        k_bhse = k_bgse.repeat_interleave(groups, 1).float()
        v_bhse = v_bgse.repeat_interleave(groups, 1).float()
        scores_bhts = q_bhte.float() @ k_bhse.mT * q_bhte.shape[-1] ** -0.5
        weights_bhts = scores_bhts.masked_fill(~plan, -torch.inf).softmax(-1)
        return (weights_bhts @ v_bhse).to(q_bhte.dtype)
