"""Cross-entropy of the output head without the whole logits in memory.

Shapes: N tokens that carry loss, D width, V vocabulary, C tokens in a chunk, R of them in a block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IGNORE = -100
"""Label of a position that carries no loss."""

CHUNK_BYTES = 256 * 2**20
"""Target size of one chunk of logits, counted in fp32. The gradient of the head is summed over
chunks, which costs as much as a hundred tokens each time: chunks must not be much smaller."""

BLOCK_ELEMENTS = 2**20
"""Logits that a CPU turns into their gradient at once: as many as stay in its cache."""


def chunk_rows(vocab_size: int) -> int:
    """Return how many rows of logits fit into `CHUNK_BYTES`, at least 16."""
    return max(16, CHUNK_BYTES // (4 * vocab_size))


class _HeadCrossEntropy(torch.autograd.Function):
    """Sum of the negative log-likelihoods; gradients are computed chunk by chunk in `forward`.

    Doing so needs each chunk's logits once, so nothing is recomputed and at most one chunk of
    logits lives at a time, in the precision of the matrix products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_nd: Tensor,
        weight_vd: Tensor,
        labels_n: Tensor,
        dtype: torch.dtype,
        z_loss: float,
    ) -> Tensor:
        need_grad = any(ctx.needs_input_grad[:2])
        cast_nd, cast_vd = hidden_nd.to(dtype), weight_vd.to(dtype)
        total = hidden_nd.new_zeros((), dtype=torch.float32)
        grad_hidden_nd = torch.empty_like(cast_nd) if need_grad else None
        grad_weight_vd = None
        for part in _parts(len(labels_n), chunk_rows(len(weight_vd))):
            logits_cv = cast_nd[part] @ cast_vd.T
            total += _losses(logits_cv, labels_n[part], need_grad, z_loss)
            if grad_hidden_nd is not None:
                torch.mm(logits_cv, cast_vd, out=grad_hidden_nd[part])
                grad_weight_vd = _plus(grad_weight_vd, logits_cv.T, cast_nd[part])
        if need_grad and grad_weight_vd is None:
            grad_weight_vd = torch.zeros_like(weight_vd, dtype=torch.float32)
        ctx.gradients = grad_hidden_nd, grad_weight_vd
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradient of head_cross_entropy can be taken only once")
        grad_hidden_nd, grad_weight_vd = ctx.gradients
        ctx.gradients = None  # they are large, and scaled in place
        scale = grad_outputs[0]
        return grad_hidden_nd.mul_(scale), grad_weight_vd.mul_(scale), None, None, None


def _parts(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _losses(logits_cv: Tensor, labels_c: Tensor, need_grad: bool, z_loss: float) -> Tensor:
    """Return the summed loss; if wanted, the logits become the gradient of that sum."""
    total = logits_cv.new_zeros((), dtype=torch.float32)
    size = len(labels_c)
    if logits_cv.device.type == "cpu":
        size = max(8, BLOCK_ELEMENTS // logits_cv.shape[1])
    for logits_rv, labels_r in zip(logits_cv.split(size), labels_c[:, None].split(size)):
        logprobs_rv = logits_rv.log_softmax(-1, dtype=torch.float32)
        total -= logprobs_rv.gather(1, labels_r).sum()
        log_z_r = logits_rv[:, :1].float() - logprobs_rv[:, :1] if z_loss else None
        if log_z_r is not None:
            total += z_loss * log_z_r.square().sum()
        if need_grad:
            grad_rv = logprobs_rv.exp_()
            if log_z_r is not None:
                grad_rv.mul_(1 + 2 * z_loss * log_z_r)
            grad_rv.scatter_add_(1, labels_r, grad_rv.new_full(labels_r.shape, -1.0))
            logits_rv.copy_(grad_rv)
    return total


def _plus(total: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """Return ``total + left @ right`` in fp32, reusing `total`."""
    if total is None:
        return (left @ right).float()
    if left.dtype == torch.float32:
        return total.addmm_(left, right)
    return total.add_(left @ right)


def head_cross_entropy(
    hidden_nd: Tensor, weight_vd: Tensor, labels_n: Tensor, z_loss: float = 0.0
) -> Tensor:
    """Return the summed cross-entropy (nats, fp32) of ``hidden @ weight.T`` against `labels`.

    `z_loss` times the squared log of each softmax's normaliser is added (PaLM, arXiv 2204.02311).

    Under autocast the matrix products run in its precision; the loss is computed in fp32. The
    gradient can be taken once; there are no second derivatives.
    """
    device, dtype = hidden_nd.device.type, hidden_nd.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        return _HeadCrossEntropy.apply(hidden_nd, weight_vd, labels_n, dtype, z_loss)


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
