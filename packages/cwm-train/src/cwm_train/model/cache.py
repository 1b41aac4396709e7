"""Keys and values of past tokens. A row's slot number is the token's position.

Shapes: B rows, G key/value heads, S slots, T new tokens, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cwm_train.model.config import CwmModelConfig


class KVCache:
    """One pair of (B, G, S, D) tensors per layer.

    Rows have their own lengths: a token at position p of a row lies in slot p, so rows that were
    padded on the right overwrite their padding as they grow, and attention never looks at slots
    after the query's position.
    """

    def __init__(
        self,
        config: CwmModelConfig,
        rows: int,
        slots: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (rows, config.num_key_value_heads, slots, config.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys_bgsd = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self.values_bgsd = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self.used = 0
        """Slots in use by the longest row."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.keys_bgsd[0].shape[0]

    @property
    def slots(self) -> int:
        """Allocated slots per row."""
        return self.keys_bgsd[0].shape[2]

    def reserve(self, slots: int) -> None:
        """Make room for positions below `slots`, and mark them as used."""
        self.used = max(self.used, slots)
        if slots > self.slots:
            extra = max(slots, self.slots * 3 // 2) - self.slots
            for tensors in (self.keys_bgsd, self.values_bgsd):
                tensors[:] = [torch.nn.functional.pad(x, (0, 0, 0, extra)) for x in tensors]

    def update(
        self, layer: int, key_bgtd: Tensor, value_bgtd: Tensor, positions_bt: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Store new tokens of a layer and return all used keys and values, (B, G, S, D)."""
        slots = positions_bt[:, None, :, None].expand_as(key_bgtd)
        key, value = self.keys_bgsd[layer], self.values_bgsd[layer]
        key.scatter_(2, slots, key_bgtd.to(key.dtype))
        value.scatter_(2, slots, value_bgtd.to(value.dtype))
        return key[:, :, : self.used], value[:, :, : self.used]

    def select(self, rows: Tensor) -> None:
        """Keep only the given rows, in the given order."""
        for tensors in (self.keys_bgsd, self.values_bgsd):
            tensors[:] = [x[rows] for x in tensors]

    def extend(self, other: KVCache) -> None:
        """Append the rows of another cache of the same model."""
        used = max(self.used, other.used)
        self.reserve(used)
        other.reserve(used)
        slots = min(self.slots, other.slots)
        for mine, theirs in (
            (self.keys_bgsd, other.keys_bgsd),
            (self.values_bgsd, other.values_bgsd),
        ):
            mine[:] = [torch.cat((a[:, :, :slots], b[:, :, :slots])) for a, b in zip(mine, theirs)]
