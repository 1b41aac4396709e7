"""Tokens of a batch through the model's own forward pass.

Slower than `DecodeStep`, but every operation and every rounding is that of training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cwm_train.model.cache import KVCache, NewTokens
from cwm_train.model.transformer import CwmForCausalLM


class ForwardStep:
    """The model over the rows of a cache; other ways to compute a step derive from it."""

    def __init__(self, model: CwmForCausalLM, cache: KVCache) -> None:
        self._model, self._cache = model, cache

    def fill(
        self, rows: Sequence[int], starts: Sequence[int], pieces: Sequence[Sequence[int]]
    ) -> None:
        """Put a piece of a prompt into each of some rows, from the given position on."""
        counts = [len(piece) for piece in pieces]
        ids_bt = torch.zeros(len(rows), max(counts), dtype=torch.long)
        for b, piece in enumerate(pieces):
            ids_bt[b, : len(piece)] = torch.tensor(piece)
        new = NewTokens(self._cache, rows, starts, counts)
        self._model.model(ids_bt.to(self._model.lm_head.weight.device), cache=new)

    def __call__(self, ids_b: Tensor, positions_b: Tensor, used: int) -> Tensor:
        """Write a token to each of the first B rows at its position; return logits, (B, V).

        `used` is the number of slots of the longest row, the new token included.
        """
        starts = positions_b.tolist()
        new = NewTokens(self._cache, range(len(starts)), starts, [1] * len(starts))
        logits_b1v: Tensor = self._model(ids_b[:, None], cache=new)
        return logits_b1v[:, 0]
