"""Cross-entropy of an output head whose vocabulary is spread over processes.

Shapes: N tokens that carry loss, D width, W this process's part of the vocabulary, C tokens of a
chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup, ReduceOp
from torch.distributed.tensor import DTensor

from cwm_train.model.loss import chunk_rows


class SpreadHead:
    """Loss and scores that exchange a few numbers per token instead of logits."""

    def __init__(self, group: ProcessGroup, z_loss: float = 0.0) -> None:
        self._group, self._z_loss = group, z_loss
        self._rank = distributed.get_rank(group)

    def loss(self, hidden_nd: Tensor, weight_vd: Tensor, labels_n: Tensor) -> Tensor:
        """Return what `head_cross_entropy` returns; `weight_vd` is a DTensor cut by rows."""
        weight_wd = _local(weight_vd).to(hidden_nd.dtype)
        place = self._group, self._rank
        return _SpreadCrossEntropy.apply(hidden_nd, weight_wd, labels_n, place, self._z_loss)

    @torch.no_grad()
    def scores(
        self, hidden_nd: Tensor, weight_vd: Tensor, labels_n: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `label_scores` returns."""
        weight_wd = _local(weight_vd).to(hidden_nd.dtype)
        label_logprobs, best_logprobs = torch.empty(2, len(labels_n), device=hidden_nd.device)
        best = torch.empty_like(labels_n)
        size = chunk_rows(weight_wd.shape[0])
        for start in range(0, len(labels_n), size):
            part = slice(start, start + size)
            logits_cw = (hidden_nd[part] @ weight_wd.T).float()
            chunk = _Chunk(logits_cw, labels_n[part], (self._group, self._rank))
            label_logprobs[part] = -chunk.loss_c
            best_logprobs[part] = chunk.highest_c - chunk.log_total_c
            best[part] = self._first_best(logits_cw, chunk.highest_c)
        return label_logprobs, best, best_logprobs

    def _first_best(self, logits_cw: Tensor, highest_c: Tensor) -> Tensor:
        """Return the smallest id whose logit is the highest of all processes."""
        own_c, id_c = logits_cw.max(-1)
        id_c = id_c + self._rank * logits_cw.shape[1]
        id_c = torch.where(own_c == highest_c, id_c, torch.iinfo(id_c.dtype).max)
        distributed.all_reduce(id_c, ReduceOp.MIN, group=self._group)
        return id_c


class _Chunk:
    """The log-likelihoods of a chunk of tokens."""

    def __init__(
        self, logits_cw: Tensor, labels_c: Tensor, place: tuple[ProcessGroup, int]
    ) -> None:
        group, rank = place
        width = logits_cw.shape[1]
        self.place_c = labels_c - rank * width
        self.own_c = (self.place_c >= 0) & (self.place_c < width)
        self.place_c = self.place_c.clamp(0, width - 1)
        self.highest_c = logits_cw.max(-1).values
        distributed.all_reduce(self.highest_c, ReduceOp.MAX, group=group)
        label_c = logits_cw.gather(1, self.place_c[:, None])[:, 0] * self.own_c
        self.shares_cw = (logits_cw - self.highest_c[:, None]).exp_()
        sums_2c = torch.stack([self.shares_cw.sum(-1), label_c])
        distributed.all_reduce(sums_2c, group=group)
        self.total_c = sums_2c[0]
        self.log_total_c = self.total_c.log() + self.highest_c
        self.loss_c = self.log_total_c - sums_2c[1]

    def gradient(self, z_loss: float) -> Tensor:
        """Return the gradient of the summed loss by the logits; uses the shares up."""
        scale_c = (1 + 2 * z_loss * self.log_total_c) / self.total_c
        grad_cw = self.shares_cw.mul_(scale_c[:, None])
        grad_cw.scatter_add_(1, self.place_c[:, None], -self.own_c[:, None].to(grad_cw.dtype))
        return grad_cw


class _SpreadCrossEntropy(torch.autograd.Function):
    """As in `model.loss`: gradients come chunk by chunk with the loss, logits are never kept."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_nd: Tensor,
        weight_wd: Tensor,
        labels_n: Tensor,
        place: tuple[ProcessGroup, int],
        z_loss: float,
    ) -> Tensor:
        total = hidden_nd.new_zeros((), dtype=torch.float32)
        grad_hidden_nd = torch.empty_like(hidden_nd)
        grad_weight_wd = torch.zeros_like(weight_wd, dtype=torch.float32)
        size = chunk_rows(weight_wd.shape[0])
        for start in range(0, len(labels_n), size):
            part = slice(start, start + size)
            logits_cw = (hidden_nd[part] @ weight_wd.T).float()
            chunk = _Chunk(logits_cw, labels_n[part], place)
            total += chunk.loss_c.sum() + z_loss * chunk.log_total_c.square().sum()
            grad_cw = chunk.gradient(z_loss).to(hidden_nd.dtype)
            torch.mm(grad_cw, weight_wd, out=grad_hidden_nd[part])
            grad_weight_wd += grad_cw.T @ hidden_nd[part]
        distributed.all_reduce(grad_hidden_nd, group=place[0])
        ctx.save_for_backward(grad_hidden_nd, grad_weight_wd)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden_nd, grad_weight_wd = ctx.saved_tensors
        return grad_hidden_nd * grads[0], grad_weight_wd * grads[0], None, None, None


def _local(weight_vd: Tensor) -> Tensor:
    return weight_vd.to_local() if isinstance(weight_vd, DTensor) else weight_vd
