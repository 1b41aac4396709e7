"""One token for each row at once through the model's own forward pass.

Slower than `DecodeStep`, but every operation and every rounding is that of training.
"""

from __future__ import annotations

from torch import Tensor

from cwm_train.model.cache import KVCache, NewTokens
from cwm_train.model.transformer import CwmForCausalLM


class ForwardStep:
    """The model over the first B rows of a cache; called as `DecodeStep` is."""

    def __init__(self, model: CwmForCausalLM, cache: KVCache) -> None:
        self._model, self._cache = model, cache

    def reveal(self, row: int, length: int) -> None:
        """Do nothing: what rows see is worked out at every step."""

    def move(self, source: int, target: int) -> None:
        """Do nothing, for the same reason."""

    def __call__(self, ids_b: Tensor, positions_b: Tensor, used: int) -> Tensor:
        """Write each row's token at its position; return the logits of the next, (B, V)."""
        starts = positions_b.tolist()
        new = NewTokens(self._cache, range(len(starts)), starts, [1] * len(starts))
        logits_b1v: Tensor = self._model(ids_b[:, None], cache=new)
        return logits_b1v[:, 0]
