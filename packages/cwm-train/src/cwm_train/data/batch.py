"""Rows of packed documents as tensors. Shapes: B rows, T tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cwm_train.data.document import Document
from cwm_train.model.loss import IGNORE


@dataclass(frozen=True)
class Batch:
    """What the model needs; ``labels[b, t]`` is the token that position t must predict."""

    ids_bt: Tensor
    positions_bt: Tensor
    document_bt: Tensor
    """Number of the document in its row, -1 for padding."""
    labels_bt: Tensor

    @property
    def loss_tokens(self) -> int:
        """Tokens that carry loss."""
        return int((self.labels_bt != IGNORE).sum())

    @property
    def tokens(self) -> int:
        """Tokens of documents, without padding."""
        return int((self.document_bt >= 0).sum())

    def to(self, device: torch.device) -> Batch:
        """Move to a device."""
        tensors = (self.ids_bt, self.positions_bt, self.document_bt, self.labels_bt)
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def split(self, rows: int) -> list[Batch]:
        """Cut into batches of at most `rows` rows."""
        tensors = (self.ids_bt, self.positions_bt, self.document_bt, self.labels_bt)
        return [Batch(*parts) for parts in zip(*(tensor.split(rows) for tensor in tensors))]


def collate(rows: Sequence[Sequence[Document]], sequence_length: int) -> Batch:
    """Lay each row's documents side by side and pad to `sequence_length`."""
    shape = (len(rows), sequence_length)
    ids, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    documents, labels = np.full(shape, -1, np.int64), np.full(shape, IGNORE, np.int64)
    for b, row in enumerate(rows):
        start = 0
        for number, document in enumerate(row):
            end = start + len(document.ids)
            ids[b, start:end] = document.ids
            positions[b, start:end] = np.arange(end - start)
            documents[b, start:end] = number
            labels[b, start : end - 1] = np.where(document.loss_mask[1:], document.ids[1:], IGNORE)
            start = end
    return Batch(*(torch.from_numpy(x) for x in (ids, positions, documents, labels)))
