"""Who computes which part of a batch. Shapes: B rows, T tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cwm_train.data.batch import Batch
from cwm_train.model.loss import IGNORE
from cwm_train.parallel.mesh import Grid


def share_of(batch: Batch, grid: Grid) -> Batch:
    """Return this process's part: every so-manieth row, and its stretch of the sequence.

    All get equally many rows, some of them padding if need be: the processes compute together, so
    none may be done earlier.
    """
    parts, context = grid.sizes.data, grid.sizes.context
    missing = -len(batch.ids_bt) % parts
    length = batch.ids_bt.shape[1] // context
    columns = slice(grid.context_rank * length, (grid.context_rank + 1) * length)

    def own(tensor: Tensor, padding: int) -> Tensor:
        filled = functional.pad(tensor, (0, 0, 0, missing), value=padding)
        return filled[grid.data_rank :: parts, columns].contiguous()

    return _each(batch, own)


def own_batches(batches: Sequence[Batch], grid: Grid) -> list[Batch]:
    """Return this process's share of whole batches; all get equally many.

    What is missing is filled with batches without labels. Processes that share a sequence while
    training take different batches here.
    """
    parts, rank = grid.gradient_parts, grid.data_rank * grid.sizes.context + grid.context_rank
    own = list(batches[rank::parts])
    rounds = -(-len(batches) // parts)
    blank = Batch(**{**vars(batches[0]), "labels_bt": torch.full_like(batches[0].ids_bt, IGNORE)})
    return own + [blank] * (rounds - len(own))


def _each(batch: Batch, change: Callable[[Tensor, int], Tensor]) -> Batch:
    return Batch(
        ids_bt=change(batch.ids_bt, 0),
        positions_bt=change(batch.positions_bt, 0),
        document_bt=change(batch.document_bt, -1),
        labels_bt=change(batch.labels_bt, IGNORE),
    )
