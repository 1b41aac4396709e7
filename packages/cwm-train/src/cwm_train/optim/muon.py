"""Muon: momentum whose matrices are orthogonalised (kellerjordan.github.io/posts/muon).

All matrices of one shape go through the iteration in one batched product, in fp32 on CPUs, where
bf16 products can be very slow, and in bf16 elsewhere. Shapes: N matrices, R rows, C columns.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from cwm_train.optim.adamw import adamw_groups, is_hidden_matrix
from cwm_train.optim.config import Muon

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(x_nrc: Tensor, steps: int) -> Tensor:
    """Push all singular values of every matrix towards 1 (quintic Newton-Schulz iteration).

    After five steps they lie roughly between 0.7 and 1.2, which is what Muon wants.
    """
    a, b, c = _COEFFICIENTS
    transposed = x_nrc.shape[1] > x_nrc.shape[2]
    x = x_nrc.mT if transposed else x_nrc
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if x.device.type != "cpu":
        x = x.bfloat16()
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if transposed else x).to(x_nrc.dtype)


class MuonWithAdamW(torch.optim.AdamW):
    """One optimizer: groups marked ``muon`` take Muon's step, the others AdamW's."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have gradients."""
        groups = self.param_groups
        for group in groups:
            if group.get("muon"):
                self._muon_step(group)
        try:
            self.param_groups = [g for g in groups if not g.get("muon")]
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _muon_step(self, group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape[parameter.shape].append(parameter)
        for (rows, columns), parameters in by_shape.items():
            updates = orthogonalise(self._nesterov(parameters, group["momentum"]), group["steps"])
            rate = group["lr"] * _shape_factor(group["scale"], rows, columns)
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, list(updates), alpha=-rate)

    def _nesterov(self, parameters: list[Tensor], momentum: float) -> Tensor:
        grads = [p.grad for p in parameters if p.grad is not None]
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
                state["step"] = torch.tensor(0.0)  # AdamW wants one in every loaded state
            state["step"] += 1
        buffers = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        return torch.stack(grads).lerp_(torch.stack(buffers), momentum)


def _shape_factor(scale: str, rows: int, columns: int) -> float:
    if scale == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


def build_muon(config: Muon, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> MuonWithAdamW:
    """Build the optimizer from the model's named parameters."""
    named = list(named_parameters)
    matrices = [p for name, p in named if is_hidden_matrix(name, p)]
    rest = [(name, p) for name, p in named if not is_hidden_matrix(name, p)]
    muon = {
        "params": matrices,
        "muon": True,
        "lr": config.lr,
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
        "steps": config.newton_schulz_steps,
        "scale": config.scale,
    }
    groups = [*([muon] if matrices else []), *adamw_groups(config.adamw, rest)]
    return MuonWithAdamW(groups, fused=True)
