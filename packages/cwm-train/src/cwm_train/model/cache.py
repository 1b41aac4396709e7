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
    """One tensor (R, 2, G, S, E) per layer: the keys of a row, then its values."""

    def __init__(
        self,
        config: CwmModelConfig,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        self.windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
        shape = (0, 2, config.num_key_value_heads, 0, config.head_dim)
        self.layers = [torch.zeros(shape, device=device, dtype=dtype) for _ in self.windows]
        self.rows = self.slots = 0

    def flat(self, window: int | None, rows_n: Tensor, slots_n: Tensor) -> Tensor:
        """Return where `put` finds the slot of a row, for layers with this window, (N * 2 * G,)."""
        parts = self.layers[0].shape[1] * self.layers[0].shape[2]
        slots = self.slots_of(window)
        first_n = rows_n * (parts * slots) + slots_n
        parts_p = torch.arange(0, parts * slots, slots, device=first_n.device)
        return (first_n[:, None] + parts_p).flatten()

    def put(self, layer: int, flat: Tensor, new_n2ge: Tensor) -> Tensor:
        """Store keys and values, (N, 2, G, E), and return the layer."""
        store = self.layers[layer]
        store.view(-1, store.shape[4]).index_copy_(
            0, flat, new_n2ge.reshape(-1, store.shape[4]).to(store.dtype)
        )
        return store

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
            new = old.new_zeros(rows, *old.shape[1:3], self.slots_of(window), old.shape[4])
            new[: old.shape[0], :, :, : old.shape[3]] = old
            self.layers[i] = new

    def copy(self, source: int, target: int, length: int) -> None:
        """Make row `target` equal to row `source`, which holds `length` tokens."""
        for layer in self.layers:
            layer[target, :, :, :length] = layer[source, :, :, :length]

    def swap(self, a: int, b: int, length: int) -> None:
        """Exchange two rows of at most `length` tokens."""
        for layer in self.layers:
            kept = layer[a, :, :, :length].clone()
            layer[a, :, :, :length] = layer[b, :, :, :length]
            layer[b, :, :, :length] = kept

    def snapshot(self, row: int, length: int) -> Snapshot:
        """Return a copy of the `length` tokens of a row."""
        return Snapshot(length, tuple(layer[row, :, :, :length].clone() for layer in self.layers))

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Fill a row from a copy; room must have been reserved."""
        for layer, kept in zip(self.layers, snapshot.layers):
            layer[row, :, :, : kept.shape[2]] = kept

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
        """Return which tokens are stored, (B, T), and where (`KVCache.flat`)."""
        real_bt = self.positions_bt < self._ends_b1
        slots_bt = self.positions_bt
        if window is not None:
            real_bt = real_bt & (self.positions_bt >= self._ends_b1 - window)
            slots_bt = slots_bt % window
        rows_bt = self._rows_b[:, None].expand_as(slots_bt)
        return real_bt, self._cache.flat(window, rows_bt[real_bt], slots_bt[real_bt])

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
        window = self._cache.windows[layer]
        real_bt, flat = self._places[window]
        new_b2gte = torch.stack((key_bgte, value_bgte), 1)
        held_b2gse = None
        if not self._fresh and window is not None:  # before a ring forgets its oldest tokens
            held_b2gse = self._cache.layers[layer][self._rows_b]
        store = self._cache.put(layer, flat, new_b2gte.permute(0, 3, 1, 2, 4)[real_bt])
        if self._fresh:
            return key_bgte, value_bgte
        if held_b2gse is None:
            all_b2gse = store[self._rows_b, :, :, : self._end]
        else:
            all_b2gse = torch.cat((held_b2gse, new_b2gte.to(held_b2gse.dtype)), 3)
        return all_b2gse[:, 0], all_b2gse[:, 1]
