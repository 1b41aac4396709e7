"""Initial weights with which two layers already find and copy what stood before (induction heads).

Small models spend most of a short training finding out how to look back and how to continue a
sequence that occurred before (arXiv 2209.11895). Here the first layer begins by noting for every
token which tokens stood one and two before it, and the average of the last few; the second layer
by finding where this token and its predecessor occurred and passing on what followed, and by
looking up what followed two tokens after the predecessor (a name's value, behind the punctuation
between them). The output head begins as a copy of the embedding. It is only a beginning: the
architecture stays as it is and every weight is trained.

Shapes: V vocabulary, D hidden width, E head width, F = E/2 rotary frequencies, N width of the
embedding's part, M width of a match code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from cwm_train.model.rope import inverse_frequencies

if TYPE_CHECKING:
    from cwm_train.model.transformer import CwmForCausalLM, SelfAttention

EMBEDDING_SHARE = 0.375
"""Part of the hidden width that holds the embedding; the rest starts (nearly) empty."""
EMBEDDING_STD = 0.52
"""Standard deviation that an embedding spread over the whole width would have."""
BACKGROUND_STD = 0.05
"""Standard deviation of the embedding elsewhere."""
NOISE = 0.3
"""What is left of the random weights of a head that is given a task."""
MATCH = 14.0
"""Attention score of a token that was found again."""
CONTEXT_MATCH = 0.7
"""Score of its predecessor's match, relative to that."""
COPY = 2.0
"""Size of what is copied, relative to the embedding."""
FAST, SLOW = 0.03, 0.01
"""Rotary frequencies (radians per token) above which a head can tell neighbours apart, and below
which distance hardly matters."""


@dataclass(frozen=True)
class _Distance:
    """Attend `offset` tokens back: the score drops by `drop` at `offset + width` tokens."""

    offset: int
    width: int
    drop: float
    fastest: float


_DISTANCES = (
    _Distance(1, 1, 5.0, math.inf),
    _Distance(2, 1, 5.0, math.inf),
    _Distance(4, 6, 2.5, 0.5),  # so wide that it averages about the last eight tokens
)


class _Layout:
    """Where things lie in the residual stream: a constant, the token, three notes about others."""

    def __init__(self, model: CwmForCausalLM) -> None:
        width = model.config.hidden_size
        self.token = slice(1, 1 + int(EMBEDDING_SHARE * width))
        self.size = self.token.stop - 1
        room = (width - self.token.stop) // 4
        frequencies_f = inverse_frequencies(model.config.head_dim, model.config.rope_parameters)
        slow_e = (frequencies_f < SLOW).repeat(2).nonzero()[:, 0]
        self.frequencies_f = frequencies_f
        self.code_e = slow_e[:room]
        """Dimensions of a head in which codes are matched: their rotary phase hardly turns."""
        self.length = len(self.code_e)
        starts = [self.token.stop + number * room for number in range(3)]
        self.notes = [slice(start, start + self.length) for start in starts]
        self.constant = 0.5 * math.sqrt(width)
        self.std = EMBEDDING_STD * math.sqrt(width / self.size)
        self.encode_mn = _orthogonal(self.length, self.size)


@torch.no_grad()
def induction_heads(model: CwmForCausalLM) -> None:
    """Overwrite embedding, head and attention of the first two layers.

    Complete with at least two layers, four key/value heads, a head width of a quarter of the hidden
    width and low rotary frequencies (rope_theta of about 1e6 for heads 32 wide); what finds no head
    is left out, and models with fewer than two layers only get the embedding.
    """
    layout = _Layout(model)
    _embed(model, layout)
    if len(model.model.layers) < 2:
        return
    first, second = (cast("SelfAttention", x.self_attn) for x in model.model.layers[:2])
    for head, distance, note in zip(_heads(model, first), _DISTANCES, layout.notes):
        _look_back(head, layout, distance, note)
    _find_and_copy(_heads(model, second), layout)


def _embed(model: CwmForCausalLM, layout: _Layout) -> None:
    """Draw the embedding, give it a constant component 0, and copy it to the output head."""
    weight_vd = model.model.embed_tokens.weight
    weight_vd.normal_(std=BACKGROUND_STD)
    weight_vd[:, layout.token].normal_(std=layout.std)
    head_vd = weight_vd * weight_vd.shape[1] ** -0.5
    head_vd[:, 0] = 0
    weight_vd[:, 0] = layout.constant
    if not model.config.tie_word_embeddings:
        model.lm_head.weight.copy_(head_vd)


@dataclass(frozen=True)
class _Head:
    """Weights of one query head and of the key/value head that it reads."""

    q_ed: Tensor
    k_ed: Tensor
    v_ed: Tensor
    o_de: Tensor

    def weaken(self) -> None:
        """Make room: keep little of the random scores, and nothing of the random values."""
        self.q_ed.mul_(NOISE)
        self.k_ed.mul_(NOISE)
        self.v_ed.zero_()
        self.o_de.zero_()


def _heads(model: CwmForCausalLM, layer: SelfAttention) -> list[_Head]:
    """Return the first query head of every key/value head."""
    width, groups = model.config.head_dim, model.config.num_key_value_heads
    repeat = model.config.num_attention_heads // groups
    found = []
    for group in range(groups):
        key = slice(group * width, (group + 1) * width)
        query = slice(group * repeat * width, (group * repeat + 1) * width)
        q_ed, k_ed = layer.q_proj.weight[query], layer.k_proj.weight[key]
        found.append(_Head(q_ed, k_ed, layer.v_proj.weight[key], layer.o_proj.weight[:, query]))
    return found


def _look_back(head: _Head, layout: _Layout, distance: _Distance, note: slice) -> None:
    """Make a head attend some tokens back and note their code.

    Queries and keys are constant; rotated, their product is a sum of
    ``cos(frequency * (distance - offset))``, largest at the offset.
    """
    head.weaken()
    frequencies_f, half = layout.frequencies_f, len(layout.frequencies_f)
    used_f = ((frequencies_f >= FAST) & (frequencies_f <= distance.fastest)).float()
    spread = float((used_f * (1 - (frequencies_f * distance.width).cos())).sum())
    if not spread:
        return
    size = math.sqrt(distance.drop * math.sqrt(2 * half) / spread) / layout.constant
    phase_f = frequencies_f * distance.offset
    head.k_ed[:half, 0], head.k_ed[half:, 0] = size * used_f, 0
    head.q_ed[:half, 0] = size * used_f * phase_f.cos()
    head.q_ed[half:, 0] = -size * used_f * phase_f.sin()
    length = min(layout.length, 2 * half)
    head.v_ed[:length, layout.token] = layout.encode_mn[:length]
    head.o_de[note, :length] = torch.eye(layout.length)[:, :length]


def _find_and_copy(heads: list[_Head], layout: _Layout) -> None:
    """Give half of the heads the task to continue, the others to look up; each copies a part."""
    width = heads[0].v_ed.shape[0]
    starts = range(0, layout.size, width)
    previous, before, _ = layout.notes
    same_mm = torch.eye(layout.length)
    for head, start in zip(heads, starts):
        head.weaken()
        _match(head, layout, layout.encode_mn, layout.token, previous, MATCH, same_mm)
        turned_mm = _orthogonal(layout.length, layout.length)
        _match(head, layout, same_mm, previous, before, MATCH * CONTEXT_MATCH, turned_mm)
        _copy(head, layout, start)
    for head, start in zip(heads[len(starts) :], starts):
        head.weaken()
        _match(head, layout, same_mm, previous, before, MATCH, same_mm)
        _copy(head, layout, start)


def _match(
    head: _Head,
    layout: _Layout,
    read: Tensor,
    query: slice,
    key: slice,
    score: float,
    turn_mm: Tensor,
) -> None:
    """Add a score for keys whose note `key` equals what `read` makes of `query`'s residual."""
    norm = layout.std * math.sqrt(layout.length)
    size = math.sqrt(score * math.sqrt(head.q_ed.shape[0])) / norm
    head.q_ed[layout.code_e, query] += size * turn_mm @ read
    head.k_ed[layout.code_e, key] += size * turn_mm


def _copy(head: _Head, layout: _Layout, start: int) -> None:
    """Copy dimensions of the embedding from `start` on, as many as the head is wide."""
    count = min(head.v_ed.shape[0], layout.size - start)
    place = slice(layout.token.start + start, layout.token.start + start + count)
    head.v_ed[:count, place] = torch.eye(count)
    head.o_de[place, :count] = COPY * torch.eye(count)


def _orthogonal(rows: int, columns: int) -> Tensor:
    q, _ = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns)))
    return q if rows >= columns else q.T
