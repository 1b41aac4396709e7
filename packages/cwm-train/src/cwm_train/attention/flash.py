"""Attention through the library flash-attn: one call for all packed documents.

Shapes: B rows, T tokens, H query heads, G key/value heads, E head width, N = B * T tokens laid
end to end, D documents.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from cwm_core.errors import ConfigError
from cwm_train.attention.base import Layout
from cwm_train.attention.sdpa import Dense, SdpaAttention

HALF = (torch.float16, torch.bfloat16)
"""The precisions that flash-attn computes in."""


@dataclass(frozen=True)
class Varlen:
    """Where the documents lie in the tokens laid end to end, and how far a query sees."""

    bounds: Tensor
    """The first token of each document, and the end: int32, (D + 1,)."""
    longest: int
    """Tokens of the longest document."""
    window: tuple[int, int]
    """Tokens that a query sees before and after itself; -1 is no limit."""


class FlashAttention:
    """`kernel` is flash-attn's `flash_attn_varlen_func`; torch attends to the slots of a cache."""

    def __init__(
        self, kernel: Callable[..., Tensor], dtypes: Collection[torch.dtype] = HALF
    ) -> None:
        self._kernel, self._dtypes = kernel, dtypes
        self._sdpa = SdpaAttention()

    def plan(self, layout: Layout, window: int | None) -> Dense | Varlen:
        """Return how to attend."""
        if layout.cached:
            return Dense(layout.visible(window))
        lengths = layout.segments()
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        reach = (-1, -1) if window is None else (window - 1, 0)
        return Varlen(bounds.to(layout.query_position_bt.device), max(lengths), reach)

    def __call__(
        self, q_bhte: Tensor, k_bgse: Tensor, v_bgse: Tensor, plan: Dense | Varlen
    ) -> Tensor:
        """Attend; raises ConfigError in a precision that the kernel does not know."""
        if isinstance(plan, Dense):
            return self._sdpa(q_bhte, k_bgse, v_bgse, plan)
        if q_bhte.dtype not in self._dtypes:
            raise ConfigError(
                f"attention=flash computes in bf16 or fp16, not in {q_bhte.dtype}",
                "set precision=bf16, or choose attention=sdpa",
            )
        rows = len(q_bhte)
        q_nhe, k_nge, v_nge = (x.transpose(1, 2).flatten(0, 1) for x in (q_bhte, k_bgse, v_bgse))
        y_nhe = self._kernel(
            q_nhe,
            k_nge,
            v_nge,
            cu_seqlens_q=plan.bounds,
            cu_seqlens_k=plan.bounds,
            max_seqlen_q=plan.longest,
            max_seqlen_k=plan.longest,
            causal=True,
            window_size=plan.window,
        )
        return y_nhe.unflatten(0, (rows, -1)).transpose(1, 2)


def load_kernel() -> Callable[..., Tensor]:
    """Return `flash_attn_varlen_func`; raises ConfigError without the library or a CUDA device."""
    if not torch.cuda.is_available():
        raise ConfigError(
            "attention=flash needs a CUDA device", "choose attention=chunked or attention=sdpa"
        )
    try:
        library: Any = importlib.import_module("flash_attn")
    except ImportError as error:
        raise ConfigError(
            f"attention=flash needs the library flash-attn: {error}",
            "pip install 'cwm-train[flash-attn]', or choose attention=flex or attention=sdpa",
        ) from error
    return library.flash_attn_varlen_func
