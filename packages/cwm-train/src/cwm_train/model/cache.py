"""Keys and values of past tokens: rows of slots, rings where a layer slides.

A token at position p lies in slot p of a full layer and in slot ``p % window`` of a sliding one, so
a sliding layer never holds more than its window. In both, a query at position p that has been
written sees exactly the slots s <= p. Rows and slots are allocated as they are needed.
Shapes: R rows, S slots, G key/value heads, E head width, B rows of a call, T new tokens, N tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cwm_train.attention.base import Layout
from cwm_train.model.config import CwmModelConfig

HIDDEN = 2**30
"""The position of a slot that no query sees."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a row of `length` tokens."""

    length: int
    layers: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(layer.nbytes for layer in self.layers)


class KVCache:
    """One tensor (R, S, 2, G, E) per layer: keys, then values, of each slot."""

    def __init__(
        self,
        config: CwmModelConfig,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
        inner = (2, config.num_key_value_heads, config.head_dim)
        self.layers = [torch.zeros(0, 0, *inner, device=device, dtype=dtype) for _ in self.windows]
        self.rows = self.slots = 0

    def slots_of(self, window: int | None) -> int:
        """Return the allocated slots of a row in layers with this window."""
        return self.slots if window is None else min(window, self.slots)

    def reserve(self, rows: int, slots: int) -> None:
        """Make room for `rows` rows with positions below `slots`; what is stored stays."""
        if rows > self.rows:
            rows = max(rows, self.rows * 2)
        if slots > self.slots:
            slots = max(slots, min(self.slots * 2, self.config.max_position_embeddings), 64)
        rows, slots = max(rows, self.rows), max(slots, self.slots)
        if (rows, slots) == (self.rows, self.slots):
            return
        self.rows, self.slots = rows, slots
        for i, window in enumerate(self.windows):
            old = self.layers[i]
            new = old.new_zeros(rows, self.slots_of(window), *old.shape[2:])
            new[: old.shape[0], : old.shape[1]] = old
            self.layers[i] = new

    def copy(self, source: int, target: int, length: int) -> None:
        """Make row `target` equal to row `source`, which holds `length` tokens."""
        for layer in self.layers:
            layer[target, :length] = layer[source, :length]

    def swap(self, a: int, b: int, length: int) -> None:
        """Exchange two rows of at most `length` tokens."""
        for layer in self.layers:
            kept = layer[a, :length].clone()
            layer[a, :length] = layer[b, :length]
            layer[b, :length] = kept

    def snapshot(self, row: int, length: int) -> Snapshot:
        """Return a copy of the `length` tokens of a row."""
        return Snapshot(length, tuple(layer[row, :length].clone() for layer in self.layers))

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Fill a row from a copy; room must have been reserved."""
        for layer, kept in zip(self.layers, snapshot.layers):
            layer[row, : len(kept)] = kept

    @staticmethod
    def bytes_per_token(config: CwmModelConfig, dtype: torch.dtype) -> int:
        """Return the memory of a token in all layers; sliding ones hold no more than the window."""
        width = 2 * config.num_key_value_heads * config.head_dim * dtype.itemsize
        return config.num_hidden_layers * width


class NewTokens:
    """T new tokens for each of B rows of a cache, as the decoder's forward pass needs them.

    Row b gets ``counts[b]`` tokens from position ``starts[b]`` on; columns beyond are padding,
    which is never stored.
    """

    def __init__(
        self, cache: KVCache, rows: Sequence[int], starts: Sequence[int], counts: Sequence[int]
    ) -> None:
        self._cache = cache
        device = cache.layers[0].device
        cache.reserve(max(rows) + 1, max(s + c for s, c in zip(starts, counts)))
        self._rows_b = torch.tensor(rows, device=device)
        self._starts_b1 = torch.tensor(starts, device=device)[:, None]
        counts_b1 = torch.tensor(counts, device=device)[:, None]
        steps_t = torch.arange(max(counts), device=device)
        self.positions_bt = self._starts_b1 + steps_t
        self._fresh = max(starts) == 0
        self._end = max(s + c for s, c in zip(starts, counts))
        self._ends_b1 = self._starts_b1 + counts_b1
        self._places = {w: self._placed(w) for w in dict.fromkeys(cache.windows)}

    def _placed(self, window: int | None) -> tuple[Tensor, Tensor]:
        """Return which tokens are stored, (B, T), and the flat slot of each of those, (N,)."""
        real_bt = self.positions_bt < self._ends_b1
        slots_bt = self.positions_bt
        if window is not None:
            real_bt = real_bt & (self.positions_bt >= self._ends_b1 - window)
            slots_bt = slots_bt % window
        flat_bt = self._rows_b[:, None] * self._cache.slots_of(window) + slots_bt
        return real_bt, flat_bt[real_bt]

    def layout(self, window: int | None) -> Layout:
        """Return where queries and keys of layers with this window are."""
        if self._fresh:
            return Layout.of_sequence(self.positions_bt, None)
        rows = len(self._rows_b)
        if window is None:
            slots_bs = torch.arange(self._end, device=self.positions_bt.device).expand(rows, -1)
        else:
            slots_bs = torch.cat((self._ring_positions(window), self.positions_bt), 1)
        return Layout(self.positions_bt, slots_bs, None, None, cached=True)

    def _ring_positions(self, window: int) -> Tensor:
        """Return the position that each slot of a ring held before the new tokens, (B, S)."""
        slots_s = torch.arange(self._cache.slots_of(window), device=self.positions_bt.device)
        newest_b1 = self._starts_b1 - 1
        held_bs = newest_b1 - (newest_b1 - slots_s) % window
        return held_bs.where(held_bs >= 0, HIDDEN)

    def update(self, layer: int, key_bgte: Tensor, value_bgte: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens of a layer; return all keys and values that `layout` describes."""
        window, store = self._cache.windows[layer], self._cache.layers[layer]
        real_bt, flat_n = self._places[window]
        new_bt2ge = torch.stack((key_bgte, value_bgte), 2).permute(0, 3, 2, 1, 4)
        held = None
        if not self._fresh and window is not None:
            held = store[self._rows_b]
        store.flatten(0, 1).index_copy_(0, flat_n, new_bt2ge[real_bt].to(store.dtype))
        if self._fresh:
            return key_bgte, value_bgte
        if held is None:
            keys_bs2ge = store[self._rows_b, : self._end]
        else:
            keys_bs2ge = torch.cat((held, new_bt2ge.to(held.dtype)), 1)
        return keys_bs2ge[:, :, 0].transpose(1, 2), keys_bs2ge[:, :, 1].transpose(1, 2)
