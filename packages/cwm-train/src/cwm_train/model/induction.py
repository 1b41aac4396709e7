"""Initial weights with which two layers already copy what followed before (induction heads).

Small models spend most of a short training finding out how to look back one token and how to
continue a sequence that occurred before (arXiv 2209.11895). Here the first layer's heads begin by
looking one and two tokens back, the second layer's by finding where this token (and the one before
it) occurred and passing on what followed; the output head begins as a copy of the embedding. It is
only a beginning: the architecture stays as it is and every weight is trained.
Shapes: V vocabulary, D width, E head width, F = E/2 rotary frequencies, K head slices.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from cwm_train.model.rope import inverse_frequencies

if TYPE_CHECKING:
    from cwm_train.model.transformer import CwmForCausalLM, SelfAttention

EMBEDDING_STD = 0.87
SHARPNESS = 5.0
"""Gap between the attention scores of the right offset and of its neighbours."""
GAIN = 0.5
"""Size of what the first layer writes, relative to the embedding."""
MATCH = 12.0
"""Attention score of a token that was found again."""
COPY = 2.0
"""Size of what the second layer copies."""


@torch.no_grad()
def induction_heads(model: CwmForCausalLM) -> None:
    """Overwrite embedding, head and attention of the first two layers.

    Models with fewer than two layers only get the embedding. Low rotary frequencies should be
    many: heads at least 64 wide and rope_theta at least 1e5 work well.
    """
    constant = 0.5 * math.sqrt(model.config.hidden_size)
    _embed(model, constant)
    if len(model.model.layers) < 2:
        return
    first, second = (cast("SelfAttention", x.self_attn) for x in model.model.layers[:2])
    frequencies_f = inverse_frequencies(model.config.head_dim, model.config.rope_parameters)
    read_ed, write_dd = _look_back(model, first, frequencies_f, constant)
    _find_and_copy(model, second, frequencies_f, read_ed, write_dd)


def _embed(model: CwmForCausalLM, constant: float) -> None:
    """Draw the embedding, give it a constant component 0, and copy it to the head."""
    weight_vd = model.model.embed_tokens.weight
    weight_vd.normal_(std=EMBEDDING_STD)
    head_vd = weight_vd * weight_vd.shape[1] ** -0.5
    head_vd[:, 0] = 0
    weight_vd[:, 0] = constant
    if not model.config.tie_word_embeddings:
        model.lm_head.weight.copy_(head_vd)


def _slices(model: CwmForCausalLM) -> list[tuple[slice, slice]]:
    """Return rows of one query head and of its key/value head, for up to two of the latter."""
    config = model.config
    width, groups = config.head_dim, config.num_key_value_heads
    repeat = config.num_attention_heads // groups
    count = min(2, groups, config.hidden_size // width)
    return [
        (slice(i * repeat * width, (i * repeat + 1) * width), slice(i * width, (i + 1) * width))
        for i in range(count)
    ]


def _look_back(
    model: CwmForCausalLM, layer: SelfAttention, frequencies_f: Tensor, constant: float
) -> tuple[Tensor, Tensor]:
    """Make head i attend i + 1 tokens back; return how tokens are read and written.

    Queries and keys are constant; rotated, their product is a sum of
    ``cos(frequency * (distance - offset))``, largest at the offset.
    """
    width, half = model.config.head_dim, model.config.head_dim // 2
    fast_f = (frequencies_f > 0.03).float()
    spread = float((1 - frequencies_f.cos()).sum())
    size = math.sqrt(SHARPNESS * math.sqrt(width) / spread) / constant
    read_ed = _orthogonal(width, model.config.hidden_size)
    write_dd = _orthogonal(model.config.hidden_size, model.config.hidden_size)
    for number, (query, key) in enumerate(_slices(model)):
        offset = number + 1
        q_ed, k_ed = layer.q_proj.weight[query], layer.k_proj.weight[key]
        q_ed *= 0.3
        k_ed *= 0.3
        k_ed[:half, 0], k_ed[half:, 0] = size * fast_f, 0
        q_ed[:half, 0] = size * fast_f * (frequencies_f * offset).cos()
        q_ed[half:, 0] = -size * fast_f * (frequencies_f * offset).sin()
        layer.v_proj.weight[key] = read_ed
        layer.v_proj.weight[key, 0] = 0
        layer.o_proj.weight[:, query] = GAIN * write_dd[:, key]
        layer.o_proj.weight[0, query] = 0
    return read_ed, write_dd


def _find_and_copy(
    model: CwmForCausalLM,
    layer: SelfAttention,
    frequencies_f: Tensor,
    read_ed: Tensor,
    write_dd: Tensor,
) -> None:
    """Make head i find the position after a former occurrence of the token i back; copy it.

    Only slow frequencies take part, so that the distance hardly matters.
    """
    width = model.config.head_dim
    slow_e1 = torch.cat([(frequencies_f < 0.01).float()] * 2)[:, None]
    strength = GAIN * width**-0.5 * float(slow_e1.sum().clamp(min=1)) * 0.75
    scale = math.sqrt(MATCH / strength)
    copy_dd = _orthogonal(model.config.hidden_size, model.config.hidden_size)
    slices = _slices(model)
    for number, (query, key) in enumerate(slices):
        wanted_ed = read_ed if number == 0 else 1.5 * write_dd[:, slices[0][1]].T
        q_ed, k_ed = layer.q_proj.weight[query], layer.k_proj.weight[key]
        q_ed.mul_(0.3).add_(scale * slow_e1 * wanted_ed)
        k_ed.mul_(0.3).add_(scale * slow_e1 * write_dd[:, key].T)
        layer.v_proj.weight[key] = copy_dd[key]
        layer.o_proj.weight[:, query] = COPY * copy_dd[key].T


def _orthogonal(rows: int, columns: int) -> Tensor:
    q, _ = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns)))
    return q if rows >= columns else q.T
