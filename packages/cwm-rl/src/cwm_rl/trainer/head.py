"""Log-probabilities of given tokens, without the whole logits in memory.

Shapes: N tokens, D width, V vocabulary, C tokens in a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cwm_train.model.loss import chunk_rows


class _TokenLogprobs(torch.autograd.Function):
    """Logits are computed a chunk at a time, and again for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, hidden_nd: Tensor, weight_vd: Tensor, labels_n: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(hidden_nd, weight_vd, labels_n)
        ctx.dtype = dtype
        cast_nd, cast_vd = hidden_nd.to(dtype), weight_vd.to(dtype)
        logprobs_n = hidden_nd.new_empty(len(labels_n), dtype=torch.float32)
        entropy_n = torch.empty_like(logprobs_n)
        for part in _parts(len(labels_n), len(weight_vd)):
            logprobs_cv = (cast_nd[part] @ cast_vd.T).float().log_softmax(-1)
            logprobs_n[part] = logprobs_cv.gather(1, labels_n[part, None])[:, 0]
            entropy_n[part] = -(logprobs_cv.exp() * logprobs_cv).sum(-1)
        ctx.mark_non_differentiable(entropy_n)
        return logprobs_n, entropy_n

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_nd, weight_vd, labels_n = ctx.saved_tensors
        cast_nd, cast_vd = hidden_nd.to(ctx.dtype), weight_vd.to(ctx.dtype)
        grad_hidden_nd = torch.empty_like(cast_nd)
        grad_weight_vd = torch.zeros_like(weight_vd, dtype=torch.float32)
        for part in _parts(len(labels_n), len(weight_vd)):
            grad_c1 = grad_outputs[0][part, None]
            grad_cv = -(cast_nd[part] @ cast_vd.T).float().softmax(-1) * grad_c1
            grad_cv.scatter_add_(1, labels_n[part, None], grad_c1)
            grad_cv = grad_cv.to(ctx.dtype)
            grad_hidden_nd[part] = grad_cv @ cast_vd
            grad_weight_vd += grad_cv.T @ cast_nd[part]
        return grad_hidden_nd.to(hidden_nd.dtype), grad_weight_vd.to(weight_vd.dtype), None, None


def _parts(count: int, vocabulary: int) -> list[slice]:
    size = chunk_rows(vocabulary)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def token_logprobs(hidden_nd: Tensor, weight_vd: Tensor, labels_n: Tensor) -> Tensor:
    """Return log-probabilities (nats, fp32) of `labels` and the entropies there, (2, N).

    It takes the place of a model's `head_loss`. The gradient flows through the first row alone.
    Under autocast the matrix products run in its precision.
    """
    device, dtype = hidden_nd.device.type, hidden_nd.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        found: tuple[Tensor, Tensor] = _TokenLogprobs.apply(hidden_nd, weight_vd, labels_n, dtype)
    return torch.stack(found)
