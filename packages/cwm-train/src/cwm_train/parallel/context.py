"""Attention over a sequence whose tokens are spread over processes.

Each process attends with its own queries to its own keys and to those that lie before them and are
seen from here: of a full layer the earlier part of the first document, of a sliding layer no more
than the window. Keys and values travel as they are projected, before groups of queries share them.
Masks stay exact: packed documents never see one another. Shapes: B rows, T tokens of this process,
H tokens fetched from the processes before it, S = H + T keys, G key/value heads, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed import ProcessGroup

from cwm_train.attention.base import Attention, Layout
from cwm_train.parallel.exchange import Route, fetch_halo, route

_NO_DOCUMENT = -2
"""Document of fetched tokens that a row does not need; no query has it."""


@dataclass(frozen=True)
class SpreadPlan:
    """How to fetch keys, and the plan of the attention that follows."""

    way: Route
    inner: Any


class ContextAttention:
    """Wraps another attention; sequences lie stretch after stretch in the ranks of a group."""

    def __init__(self, inner: Attention, group: ProcessGroup) -> None:
        self.inner, self._group = inner, group
        self._rank = distributed.get_rank(group)
        self.whole = False
        """Whether sequences are not cut at present: each process has rows of its own."""

    def plan(self, layout: Layout, window: int | None) -> Any:
        """Agree with the other processes on who needs which keys."""
        if self.whole or layout.cached:
            return self.inner.plan(layout, window)
        positions_bt = layout.query_position_bt
        tokens = positions_bt.shape[1]
        reach = tokens * self._rank if window is None else min(window - 1, tokens * self._rank)
        halos = self._gathered(positions_bt[:, 0].max().clamp(max=reach))
        plan = self.inner.plan(_with_halo(layout, halos[self._rank]), window)
        return SpreadPlan(route(halos, tokens, self._rank), plan)

    def _gathered(self, own: Tensor) -> list[int]:
        everyone = own.new_zeros(distributed.get_world_size(self._group))
        everyone[self._rank] = own
        distributed.all_reduce(everyone, group=self._group)
        return everyone.tolist()

    @torch.compiler.disable(recursive=False)
    def __call__(self, q_bhte: Tensor, k_bgte: Tensor, v_bgte: Tensor, plan: Any) -> Tensor:
        """Attend."""
        if not isinstance(plan, SpreadPlan):
            return self.inner(q_bhte, k_bgte, v_bgte, plan)
        if plan.way.busy:
            kv_t2bge = torch.stack([k_bgte, v_bgte]).movedim(3, 0)
            halo_2bghe = fetch_halo(kv_t2bge, plan.way, self._group).movedim(0, 3)
            # an empty halo, too: its place in the graph takes part in the exchange of gradients
            k_bgte = torch.cat([halo_2bghe[0], k_bgte], 2)
            v_bgte = torch.cat([halo_2bghe[1], v_bgte], 2)
        return self.inner(q_bhte, k_bgte, v_bgte, plan.inner)


def _with_halo(layout: Layout, halo: int) -> Layout:
    """Return the layout of the own queries and of the own keys with `halo` keys before them.

    What lies before the own tokens follows from the position of the first: the fetched tokens
    continue its document backwards, as far as that goes.
    """
    if not halo:
        return layout
    positions_bt, document_bt = layout.query_position_bt, layout.query_document_bt
    before_h = torch.arange(-halo, 0, device=positions_bt.device)
    position_bh = positions_bt[:, :1] + before_h
    if document_bt is None:
        first_b1 = torch.zeros_like(positions_bt[:, :1])
        document_bt = torch.zeros_like(positions_bt)
    else:
        first_b1 = document_bt[:, :1]
    document_bh = torch.where(position_bh >= 0, first_b1, _NO_DOCUMENT)
    return Layout(
        positions_bt,
        torch.cat([position_bh, positions_bt], 1),
        document_bt,
        torch.cat([document_bh, document_bt], 1),
        cached=True,
    )
