"""The gradient of one optimizer step when the model is spread over processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from cwm_train.data.batch import Batch
from cwm_train.parallel.mesh import Grid


class SpreadGradients:
    """One part after the other; each is reduced at once, so that no whole gradient piles up."""

    at_once = 1

    def __init__(self, model: nn.Module, grid: Grid) -> None:
        self._model, self._grid = model, grid

    def add(self, parts: list[Batch], scale: float) -> Tensor:
        """Add `scale` times the gradient to the parameters; return the summed loss of all.

        Every process must give as many parts. Copies of the model (``replicate``) add their sums
        up after the last part only.
        """
        total = torch.zeros((), device=parts[0].ids_bt.device)
        for number, part in enumerate(parts):
            if isinstance(self._model, FSDPModule):
                self._model.set_requires_all_reduce(number == len(parts) - 1)
            loss = self._model(
                part.ids_bt, part.positions_bt, part.document_bt, labels_bt=part.labels_bt
            )
            # FSDP averages over processes; the mean is over the tokens of all of them
            (loss * (scale * self._grid.gradient_parts)).backward()
            total += loss.detach()
        return self._grid.total(total)

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


def clip(parameters: Iterable[Tensor], limit: float) -> float:
    """Scale gradients down to a common norm of at most `limit`; return the norm before."""
    norm = clip_grad_norm_(parameters, limit)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
