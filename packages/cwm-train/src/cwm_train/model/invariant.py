"""Numbers of a token that do not depend on what else is computed with it.

Kernels add up in an order that depends on shapes: on the rows of a batch, on packing, on whether
keys come from a cache. In bf16 the last bits of a sum decide how it is rounded, and some layers
later the same token has log-probabilities that differ by hundredths. Under `BatchInvariant`,
whatever adds up or approximates is computed in fp64 and rounded to the dtype that it has otherwise:
the order shows in the 16th digit, and hardly ever survives the rounding. It costs what fp64 costs.
The aim is that of kernels with a fixed order ("Defeating Nondeterminism in LLM Inference", Thinking
Machines, 2025), which exist for some GPUs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

_INEXACT = {
    *("linear", "matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm"),
    *("scaled_dot_product_attention", "softmax", "log_softmax", "logsumexp"),
    *("sum", "mean", "exp", "rsqrt", "cos", "sin", "silu"),
}
"""Other elementwise operations round exactly as they are."""


class BatchInvariant(TorchFunctionMode):
    """Compute in fp64 what would depend on shapes, on this thread, until the context ends."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, with wider numbers if its sums depend on their order."""
        kwargs = kwargs or {}
        narrow = next((x.dtype for x in args if isinstance(x, Tensor) and _is_narrow(x)), None)
        if narrow is None or getattr(func, "__name__", "") not in _INEXACT:
            return func(*args, **kwargs)
        wide_args, wide_kwargs = tree_map_only(Tensor, _widened, (args, dict(kwargs)))
        return tree_map_only(Tensor, lambda x: x.to(narrow), func(*wide_args, **wide_kwargs))


def batch_invariant(enabled: bool) -> AbstractContextManager[Any]:
    """Return the context in which the numbers of a token depend on its own sequence alone."""
    return BatchInvariant() if enabled else nullcontext()


def _is_narrow(x: Tensor) -> bool:
    return x.is_floating_point() and x.dtype != torch.float64


def _widened(x: Tensor) -> Tensor:
    return x.double() if _is_narrow(x) else x
