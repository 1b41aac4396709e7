"""Who sees whom: the contract between the model and its attention backends.

Shapes: B rows, T queries, S keys, H query heads, G key/value heads, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Positions and documents of the queries and keys of one forward pass.

    A query sees a key if both are of one document, the key's position is not greater, and with a
    window w, ``query_position - key_position < w``. Negative documents are padding, whose outputs
    mean nothing but are finite.
    """

    query_position_bt: Tensor
    key_position_bs: Tensor
    query_document_bt: Tensor | None
    """`None`: every row is one document."""
    key_document_bs: Tensor | None
    cached: bool
    """Whether keys lie in a cache; otherwise queries and keys are the same packed tokens, with
    the tokens of a document side by side and in order."""

    @classmethod
    def of_sequence(cls, positions_bt: Tensor, document_bt: Tensor | None) -> Layout:
        """Layout of tokens that attend to one another."""
        return cls(positions_bt, positions_bt, document_bt, document_bt, cached=False)

    @classmethod
    def of_cache(cls, positions_bt: Tensor, slots: int) -> Layout:
        """Layout of new tokens that attend to the slots of a cache (slot = position)."""
        slots_bs = torch.arange(slots, device=positions_bt.device).expand(len(positions_bt), -1)
        return cls(positions_bt, slots_bs, None, None, cached=True)

    def visible(self, window: int | None) -> Tensor:
        """Return the dense mask (B, 1, T, S), true where the query sees the key.

        Padding sees itself, so that no row of the mask is empty.
        """
        gap_bts = self.query_position_bt[:, :, None] - self.key_position_bs[:, None, :]
        mask_bts = gap_bts >= 0
        if window is not None:
            mask_bts &= gap_bts < window
        if self.query_document_bt is not None and self.key_document_bs is not None:
            mask_bts &= self.query_document_bt[:, :, None] == self.key_document_bs[:, None, :]
        return mask_bts[:, None]

    def segments(self) -> list[int]:
        """Return the lengths of the documents in the rows laid end to end (not for caches).

        Neighbouring tokens belong together if they share row and document.
        """
        rows, tokens = self.query_position_bt.shape
        if self.query_document_bt is None:
            return [tokens] * rows
        starts_bt = torch.ones_like(self.query_document_bt, dtype=torch.bool)
        starts_bt[:, 1:] = self.query_document_bt[:, 1:] != self.query_document_bt[:, :-1]
        bounds = starts_bt.flatten().nonzero()[:, 0].tolist()
        return [end - start for start, end in zip(bounds, [*bounds[1:], rows * tokens])]


@runtime_checkable
class Attention(Protocol):
    """A way to compute softmax attention, scaled by ``E**-0.5``."""

    def plan(self, layout: Layout, window: int | None) -> Any:
        """Prepare what all layers with this window share in one forward pass."""
        ...

    def __call__(self, q_bhte: Tensor, k_bgse: Tensor, v_bgse: Tensor, plan: Any) -> Tensor:
        """Return the attended values, (B, H, T, E); H is a multiple of G."""
        ...
