"""One token for each row at once: the decoder's forward pass where T is 1, with little around it.

A step of a small model is mostly the calls between the matrix products. So projections with the
same input are one product, their weights lying side by side in memory (the model's parameters
become views of it, so that nothing is held twice and updates in place reach both); keys and values
are written by one call; masks are not built again but opened at one slot per row and step.
Shapes: R rows of the cache, B active rows (the first B), D width, H query heads, G key/value heads,
E head width, S slots, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cwm_train.model.cache import KVCache
from cwm_train.model.transformer import CwmForCausalLM


@torch.no_grad()
def side_by_side(linears: Sequence[nn.Linear]) -> Tensor:
    """Return the weights of `linears` as one tensor, whose slices become their parameters."""
    weights = [linear.weight for linear in linears]
    first, ends = weights[0], [w.data_ptr() + w.nbytes for w in weights]
    rows = sum(len(w) for w in weights)
    if [w.data_ptr() for w in weights[1:]] == ends[:-1] and all(
        w.untyped_storage().data_ptr() == first.untyped_storage().data_ptr() for w in weights
    ):
        return first.data.as_strided((rows, first.shape[1]), (first.shape[1], 1))
    fused = torch.cat([w.data for w in weights])
    for weight, part in zip(weights, fused.split([len(w) for w in weights])):
        weight.data = part
    return fused


@dataclass(frozen=True)
class _Layer:
    index: int
    window: int | None
    norm_before: Tensor
    qkv: Tensor
    out: Tensor
    norm_after: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def of(cls, layer: Any, index: int) -> _Layer:
        mix, mlp = layer.self_attn, layer.mlp
        return cls(
            index,
            mix.window,
            layer.input_layernorm.weight.detach(),
            side_by_side([mix.q_proj, mix.k_proj, mix.v_proj]).T,
            mix.o_proj.weight.detach().T,
            layer.post_attention_layernorm.weight.detach(),
            side_by_side([mlp.gate_proj, mlp.up_proj]).T,
            mlp.down_proj.weight.detach().T,
        )


class Masks:
    """What each row sees: zero or minus infinity per slot, (R, S), one tensor per window."""

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._bias: dict[int | None, Tensor] = {}

    def set(self, row: int, length: int) -> None:
        """Let a row see its first `length` slots, and no other."""
        for window in dict.fromkeys(self._cache.windows):
            bias_s = self._sized(window)[row]
            bias_s[:] = -torch.inf
            bias_s[:length] = 0

    def move(self, source: int, target: int) -> None:
        """Let row `target` see what row `source` sees."""
        for window in dict.fromkeys(self._cache.windows):
            bias_rs = self._sized(window)
            bias_rs[target] = bias_rs[source]

    def open(self, window: int | None, rows_b: Tensor, slots_b: Tensor) -> Tensor:
        """Open one slot of each given row and return the masks of all rows."""
        bias_rs = self._sized(window)
        bias_rs.view(-1).index_fill_(0, rows_b * bias_rs.shape[1] + slots_b, 0)
        return bias_rs

    def _sized(self, window: int | None) -> Tensor:
        old, shape = self._bias.get(window), (self._cache.rows, self._cache.slots_of(window))
        if old is not None and old.shape == shape:
            return old
        new = self._cache.layers[0].new_full(shape, -torch.inf)
        if old is not None:
            new[: old.shape[0], : old.shape[1]] = old
        self._bias[window] = new
        return new


class DecodeStep:
    """The decoder over the first B rows of a cache; holds the model's weights as it needs them."""

    def __init__(self, model: CwmForCausalLM, cache: KVCache) -> None:
        config = model.config
        self._model, self._cache, self._masks = model, cache, Masks(cache)
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._width, self._eps = config.head_dim, config.rms_norm_eps
        self._layers = [_Layer.of(layer, i) for i, layer in enumerate(model.model.layers)]
        self._windows = tuple(dict.fromkeys(cache.windows))

    def reveal(self, row: int, length: int) -> None:
        """Let a row see its first `length` tokens, and no others."""
        self._masks.set(row, length)

    def move(self, source: int, target: int) -> None:
        """Let row `target` see what row `source` sees."""
        self._masks.move(source, target)

    def __call__(self, ids_b: Tensor, positions_b: Tensor, used: int) -> Tensor:
        """Write each row's token at its position; return the logits of the next, (B, V).

        `used` is the number of slots of the longest row, the new token included.
        """
        cos_b12e, sin_b12e = self._rotation(positions_b)
        rows_b = torch.arange(len(ids_b), device=ids_b.device)
        places, seen = {}, {}
        for window in self._windows:
            slots_b = positions_b if window is None else positions_b % window
            places[window] = self._cache.flat(window, rows_b, slots_b)
            bias_rs = self._masks.open(window, rows_b, slots_b)
            seen[window] = bias_rs[: len(ids_b), None, None, :used]
        x_bd = self._model.model.embed_tokens(ids_b)
        for layer in self._layers:
            window = layer.window
            h_bd = self._norm(x_bd, layer.norm_before) @ layer.qkv
            y_bd = self._attend(h_bd, layer.index, places[window], seen[window], cos_b12e, sin_b12e)
            x_bd = torch.addmm(x_bd, y_bd, layer.out)
            gate_bf, up_bf = (self._norm(x_bd, layer.norm_after) @ layer.gate_up).chunk(2, -1)
            x_bd = torch.addmm(x_bd, functional.silu(gate_bf).mul_(up_bf), layer.down)
        return self._model.lm_head(self._model.model.norm(x_bd))

    def _norm(self, x_bd: Tensor, weight_d: Tensor) -> Tensor:
        x_fp32 = x_bd.float()
        scale_b1 = x_fp32.square().mean(-1, keepdim=True).add_(self._eps).rsqrt_()
        return (x_fp32 * scale_b1).to(x_bd.dtype).mul_(weight_d)

    def _attend(
        self,
        qkv_bd: Tensor,
        layer: int,
        places: Tensor,
        seen_b11s: Tensor,
        cos_b12e: Tensor,
        sin_b12e: Tensor,
    ) -> Tensor:
        rows, heads, groups, width = len(qkv_bd), self._heads, self._groups, self._width
        turned = qkv_bd[:, : (heads + groups) * width].view(rows, -1, 2, width // 2)
        crossed = turned.flip(2).float().mul_(sin_b12e)
        turned.copy_(crossed.addcmul_(turned.float(), cos_b12e))
        kv_b2ge = qkv_bd[:, heads * width :].view(rows, 2, groups, width)
        store = self._cache.put(layer, places, kv_b2ge)
        held_b2gse = store[:rows, :, :, : seen_b11s.shape[-1]]
        y_bgje = functional.scaled_dot_product_attention(
            qkv_bd[:, : heads * width].view(rows, groups, heads // groups, width),
            held_b2gse[:, 0],
            held_b2gse[:, 1],
            attn_mask=seen_b11s,
        )
        return y_bgje.reshape(rows, heads * width)

    def _rotation(self, positions_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and signed sines for both halves of a head, fp32, (B, 1, 2, E/2)."""
        angles_be = positions_b[:, None].float() * self._model.model.frequencies()
        cos_be, sin_be = angles_be.cos(), angles_be.sin()
        return (
            torch.stack((cos_be, cos_be), 1)[:, None],
            torch.stack((-sin_be, sin_be), 1)[:, None],
        )
