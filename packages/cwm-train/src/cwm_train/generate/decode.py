"""One token for each row at once: the decoder's forward pass where T is 1, with little around it.

A step of a small model is mostly the calls between the matrix products. So projections with the
same input are one product, their weights lying side by side in memory (the model's parameters
become views of it, so that nothing is held twice and updates in place reach both); keys and values
are written by one call; one mask serves all layers, as in rings too a row sees the slots up to its
position.
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

from cwm_train.generate.forward import ForwardStep
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
class LayerWeights:
    """A layer's weights, (in, out) each but for the norms; views of the model's own."""

    window: int | None
    norm_before: Tensor
    qkv: Tensor
    out: Tensor
    norm_after: Tensor
    gate_up: Tensor
    down: Tensor

    @classmethod
    def of(cls, layer: Any) -> LayerWeights:
        """Lay the weights of a layer of the model side by side."""
        mix, mlp = layer.self_attn, layer.mlp
        return cls(
            mix.window,
            layer.input_layernorm.weight.detach(),
            side_by_side([mix.q_proj, mix.k_proj, mix.v_proj]).T,
            mix.o_proj.weight.detach().T,
            layer.post_attention_layernorm.weight.detach(),
            side_by_side([mlp.gate_proj, mlp.up_proj]).T,
            mlp.down_proj.weight.detach().T,
        )


class DecodeStep(ForwardStep):
    """The decoder over the first B rows of a cache; holds the model's weights as it needs them."""

    def __init__(self, model: CwmForCausalLM, cache: KVCache) -> None:
        super().__init__(model, cache)
        config = model.config
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._width, self._eps = config.head_dim, config.rms_norm_eps
        self._layers = [LayerWeights.of(layer) for layer in model.model.layers]
        self._windows = tuple(dict.fromkeys(cache.windows))

    def __call__(self, ids_b: Tensor, positions_b: Tensor, used: int) -> Tensor:
        """Write a token to each of the first B rows at its position; return logits, (B, V)."""
        cos_b12e, sin_b12e = self._rotation(positions_b)
        rows_b = torch.arange(len(ids_b), device=ids_b.device)
        seen_b11s = self._seen(positions_b, used)
        places = {}
        for window in self._windows:
            slots_b = positions_b if window is None else positions_b % window
            places[window] = self._cache.flat(window, rows_b, slots_b)
        x_bd = self._model.model.embed_tokens(ids_b)
        for index, layer in enumerate(self._layers):
            h_bd = self._norm(x_bd, layer.norm_before) @ layer.qkv
            store = self._turn_and_put(h_bd, index, places[layer.window], cos_b12e, sin_b12e)
            y_bd = self._attend(h_bd, store, seen_b11s)
            x_bd = torch.addmm(x_bd, y_bd, layer.out)
            gate_bf, up_bf = (self._norm(x_bd, layer.norm_after) @ layer.gate_up).chunk(2, -1)
            x_bd = torch.addmm(x_bd, functional.silu(gate_bf).mul_(up_bf), layer.down)
        return self._model.lm_head(self._model.model.norm(x_bd))

    def _norm(self, x_bd: Tensor, weight_d: Tensor) -> Tensor:
        x_fp32 = x_bd.float()
        scale_b1 = x_fp32.square().mean(-1, keepdim=True).add_(self._eps).rsqrt_()
        return (x_fp32 * scale_b1).to(x_bd.dtype).mul_(weight_d)

    def _turn_and_put(
        self, qkv_bd: Tensor, layer: int, places: Tensor, cos_b12e: Tensor, sin_b12e: Tensor
    ) -> Tensor:
        """Rotate queries and keys in place, store keys and values; return the layer's store."""
        rows, heads, groups, width = len(qkv_bd), self._heads, self._groups, self._width
        turned = qkv_bd[:, : (heads + groups) * width].view(rows, -1, 2, width // 2)
        crossed = turned.flip(2).float().mul_(sin_b12e)
        turned.copy_(crossed.addcmul_(turned.float(), cos_b12e))
        kv_b2ge = qkv_bd[:, heads * width :].view(rows, 2, groups, width)
        return self._cache.put(layer, places, kv_b2ge)

    def _attend(self, qkv_bd: Tensor, store: Tensor, seen_b11s: Tensor) -> Tensor:
        rows, heads, groups, width = len(qkv_bd), self._heads, self._groups, self._width
        slots = min(seen_b11s.shape[-1], store.shape[3])
        held_b2gse = store[:rows, :, :, :slots]
        y_bgje = functional.scaled_dot_product_attention(
            qkv_bd[:, : heads * width].view(rows, groups, heads // groups, width),
            held_b2gse[:, 0],
            held_b2gse[:, 1],
            attn_mask=seen_b11s[..., :slots],
        )
        return y_bgje.reshape(rows, heads * width)

    def _seen(self, positions_b: Tensor, used: int) -> Tensor:
        """Return zero for slots that a row sees, minus infinity for others, (B, 1, 1, S)."""
        slots_s = torch.arange(used, device=positions_b.device)
        bias_bs = torch.zeros(
            len(positions_b), used, device=positions_b.device, dtype=self._cache.layers[0].dtype
        )
        return bias_bs.masked_fill_(slots_s > positions_b[:, None], -torch.inf)[:, None, None]

    def _rotation(self, positions_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and signed sines for both halves of a head, fp32, (B, 1, 2, E/2)."""
        angles_be = positions_b[:, None].float() * self._model.model.frequencies()
        cos_be, sin_be = angles_be.cos(), angles_be.sin()
        return (
            torch.stack((cos_be, cos_be), 1)[:, None],
            torch.stack((-sin_be, sin_be), 1)[:, None],
        )
