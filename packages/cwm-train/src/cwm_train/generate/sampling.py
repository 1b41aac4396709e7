"""From logits to tokens, for all rows of a batch at once. Shapes: B rows, V vocabulary, K kept.

Each request has its own stream of uniform numbers, one per token, that depends on its seed alone;
a number picks the token by the inverse of the cumulative distribution. So what else is in the batch
does not matter, except where rounding of the logits moves a boundary across the drawn number.
Log-probabilities are those of the model itself (temperature 1, nothing cut off).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cwm_core.engine.base import SamplingParams


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token of each row, its log-probability (nats), and the likeliest ones where asked for."""

    token_ids: list[int]
    logprobs: list[float]
    tops: list[tuple[tuple[int, float], ...]]


def uniforms(seed: int | None) -> random.Random:
    """Return a request's source of uniform numbers."""
    return random.Random(seed)


def draw(
    logits_bv: Tensor,
    params: Sequence[SamplingParams],
    sources: Sequence[random.Random],
    tops: Sequence[int] = (),
) -> tuple[Tensor, Drawn]:
    """Draw a token for every row; `tops` is how many of the likeliest tokens a row wants to know.

    Returns the tokens on the device, (B,), and everything on the host.
    """
    logits_bv = logits_bv.float()
    tokens_b = logits_bv.argmax(-1)
    chosen = [b for b, each in enumerate(params) if each.temperature > 0]
    if chosen:
        rows = slice(None) if len(chosen) == len(params) else torch.tensor(chosen)
        tokens_b[rows] = _sample(
            logits_bv[rows], [params[b] for b in chosen], [sources[b].random() for b in chosen]
        )
    logprobs_bv = logits_bv.log_softmax(-1)
    logprobs_b = logprobs_bv.gather(1, tokens_b[:, None])[:, 0]
    most = max(tops, default=0)
    found: list[tuple[tuple[int, float], ...]] = [()] * len(params)
    if most:
        values_bk, ids_bk = logprobs_bv.topk(min(most, logits_bv.shape[1]))
        pairs = zip(ids_bk.tolist(), values_bk.tolist(), tops)
        found = [tuple(zip(ids[:k], values[:k])) for ids, values, k in pairs]
    return tokens_b, Drawn(tokens_b.tolist(), logprobs_b.tolist(), found)


def _sample(
    logits_bv: Tensor, params: Sequence[SamplingParams], numbers: Sequence[float]
) -> Tensor:
    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, device=logits_bv.device)[:, None]

    scaled_bv = logits_bv / column([each.temperature for each in params])
    probabilities_bv = truncated(scaled_bv, params).softmax(-1)
    cumulative_bv = probabilities_bv.cumsum(-1, dtype=torch.float64)
    points_b1 = column(list(numbers)).double() * cumulative_bv[:, -1:]
    tokens_b = torch.searchsorted(cumulative_bv, points_b1, right=True)[:, 0]
    return tokens_b.clamp_(max=logits_bv.shape[1] - 1)


def truncated(logits_bv: Tensor, params: Sequence[SamplingParams]) -> Tensor:
    """Set all but the `top_k` largest, then all outside the nucleus `top_p`, to minus infinity.

    Of a row's tokens outside the nucleus, the likeliest one is kept where none would be left.
    """
    vocabulary = logits_bv.shape[1]
    ks = [each.top_k if 0 < each.top_k < vocabulary else vocabulary for each in params]
    ps = [each.top_p for each in params]
    if min(ps) >= 1.0 and min(ks) == vocabulary:
        return logits_bv
    kept = max(ks)
    values_bk, ids_bk = logits_bv.topk(kept)
    ranks_k = torch.arange(kept, device=logits_bv.device)
    values_bk = values_bk.masked_fill(
        ranks_k >= torch.tensor(ks, device=logits_bv.device)[:, None], -torch.inf
    )
    shares_bk = values_bk.softmax(-1)
    before_bk = shares_bk.cumsum(-1) - shares_bk
    outside_bk = before_bk >= torch.tensor(ps, device=logits_bv.device)[:, None]
    outside_bk[:, 0] = False
    values_bk = values_bk.masked_fill(outside_bk, -torch.inf)
    return torch.full_like(logits_bv, -torch.inf).scatter_(1, ids_bk, values_bk)
