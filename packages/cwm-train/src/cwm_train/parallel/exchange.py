"""Keys and values that come from the processes before this one in the sequence.

Every process holds T tokens of a sequence; process r needs a stretch that ends where its own
tokens begin. So what s gives to r is a suffix of the tokens of s, and what r gets from all lies in
order. One all-to-all carries exactly the tokens that are needed; backward, it carries the gradients
home. Shapes: T tokens, H tokens before them ("halo"), F everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class Route:
    """Who gives how many tokens to whom."""

    gives: tuple[int, ...]
    """Tokens, the last of this process's own, that each process gets from it."""
    gets: tuple[int, ...]
    """Tokens that it gets from each process."""
    busy: bool
    """Whether any process of the group gets anything."""


def route(halos: Sequence[int], tokens: int, rank: int) -> Route:
    """Return the route of a process when process r needs the ``halos[r]`` tokens before its own."""

    def given(giver: int, taker: int) -> int:
        first = taker * tokens - halos[taker]
        return min(max((giver + 1) * tokens - first, 0), tokens) if giver < taker else 0

    others = range(len(halos))
    gives = tuple(given(rank, taker) for taker in others)
    gets = tuple(given(giver, rank) for giver in others)
    return Route(gives, gets, any(halos))


def fetch_halo(x_tf: Tensor, way: Route, group: ProcessGroup) -> Tensor:
    """Return the tokens before those of `x_tf` that the route brings, (H, F); differentiable.

    Every process of the group must call this, and use what it gets even if it is empty: the
    backward pass is an exchange of all, too.
    """
    return _FetchHalo.apply(x_tf, way, group)


class _FetchHalo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_tf: Tensor, way: Route, group: ProcessGroup) -> Tensor:
        ctx.way, ctx.group, ctx.tokens = way, group, len(x_tf)
        sent = torch.cat([x_tf[len(x_tf) - count :] for count in way.gives])
        return _exchange(sent, way.gives, way.gets, group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        way, tokens = ctx.way, ctx.tokens
        returned = _exchange(grads[0].contiguous(), way.gets, way.gives, ctx.group)
        grad_tf = returned.new_zeros(tokens, *returned.shape[1:])
        for part, count in zip(returned.split(list(way.gives)), way.gives):
            grad_tf[tokens - count :] += part
        return grad_tf, None, None


def _exchange(
    sent: Tensor, gives: Sequence[int], gets: Sequence[int], group: ProcessGroup
) -> Tensor:
    received = sent.new_empty(sum(gets), *sent.shape[1:])
    distributed.all_to_all_single(received, sent, list(gets), list(gives), group=group)
    return received
