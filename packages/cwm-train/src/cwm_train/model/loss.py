"""Cross-entropy of the output head without the whole logits in memory.

Shapes: N tokens that carry loss, D width, V vocabulary, C tokens in a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IGNORE = -100
"""Label of a position that carries no loss."""

CHUNK_BYTES = 32 * 2**20
"""Target size of one chunk of fp32 logits."""


def chunk_rows(vocab_size: int, chunk_bytes: int = CHUNK_BYTES) -> int:
    """Return how many rows of logits fit into `chunk_bytes`, at least 16."""
    return max(16, chunk_bytes // (4 * vocab_size))


class _HeadCrossEntropy(torch.autograd.Function):
    """Sum of the negative log-likelihoods; gradients are computed chunk by chunk in `forward`.

    Doing so needs each chunk's logits once, so nothing is recomputed and at most one chunk of
    logits lives at a time.
    """

    @staticmethod
    def forward(ctx: Any, hidden_nd: Tensor, weight_vd: Tensor, labels_n: Tensor) -> Tensor:
        need_grad = any(ctx.needs_input_grad[:2])
        total = hidden_nd.new_zeros((), dtype=torch.float32)
        grad_hidden_nd = torch.empty_like(hidden_nd) if need_grad else None
        grad_weight_vd = torch.zeros_like(weight_vd, dtype=torch.float32) if need_grad else None
        size = chunk_rows(weight_vd.shape[0])
        for start in range(0, hidden_nd.shape[0], size):
            hidden_cd, labels_c = hidden_nd[start : start + size], labels_n[start : start + size]
            logprobs_cv = (hidden_cd @ weight_vd.T).float().log_softmax(-1)
            total = total - logprobs_cv.gather(1, labels_c[:, None]).sum()
            if grad_hidden_nd is None or grad_weight_vd is None:
                continue
            grad_cv = logprobs_cv.exp_()
            grad_cv.scatter_add_(1, labels_c[:, None], grad_cv.new_full((len(labels_c), 1), -1.0))
            grad_cv = grad_cv.to(hidden_nd.dtype)
            torch.mm(grad_cv, weight_vd, out=grad_hidden_nd[start : start + size])
            if hidden_nd.dtype == torch.float32:
                grad_weight_vd.addmm_(grad_cv.T, hidden_cd)
            else:
                grad_weight_vd += grad_cv.T @ hidden_cd
        ctx.save_for_backward(grad_hidden_nd, grad_weight_vd)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden_nd, grad_weight_vd = ctx.saved_tensors
        return grad_hidden_nd * grad_outputs[0], grad_weight_vd * grad_outputs[0], None


def head_cross_entropy(hidden_nd: Tensor, weight_vd: Tensor, labels_n: Tensor) -> Tensor:
    """Return the summed cross-entropy (nats, fp32) of ``hidden @ weight.T`` against `labels`.

    Under autocast the matrix products run in its precision; the loss is computed in fp32. Second
    derivatives are not available.
    """
    if torch.is_autocast_enabled(hidden_nd.device.type):
        dtype = torch.get_autocast_dtype(hidden_nd.device.type)
        hidden_nd, weight_vd = hidden_nd.to(dtype), weight_vd.to(dtype)
    with torch.autocast(hidden_nd.device.type, enabled=False):
        return _HeadCrossEntropy.apply(hidden_nd, weight_vd, labels_n)


@torch.no_grad()
def label_scores(
    hidden_nd: Tensor, weight_vd: Tensor, labels_n: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each label's log-probability (nats, fp32), the likeliest token and its own."""
    weight_vd = weight_vd.to(hidden_nd.dtype)
    size = chunk_rows(weight_vd.shape[0])
    label_logprobs, best_logprobs = torch.empty(2, len(labels_n), device=hidden_nd.device)
    best = torch.empty_like(labels_n)
    for start in range(0, len(labels_n), size):
        part = slice(start, start + size)
        logprobs_cv = (hidden_nd[part] @ weight_vd.T).float().log_softmax(-1)
        label_logprobs[part] = logprobs_cv.gather(1, labels_n[part, None])[:, 0]
        best_logprobs[part], best[part] = logprobs_cv.max(-1)
    return label_logprobs, best, best_logprobs
