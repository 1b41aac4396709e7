"""SOAP: AdamW in the eigenbasis of Shampoo's preconditioners (arXiv 2409.11321).

The preconditioners are averages of ``G G^T`` (left, R x R) and ``G^T G`` (right, C x C) of a
matrix's gradients G. Both moments live in their eigenbasis and turn with it. So a step costs one
product per side to bring the gradient there and one to bring the update back, and all matrices
share one call of torch's fused kernel between. Shapes: R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.adamw import adamw

from cwm_core.errors import ConfigError
from cwm_train.optim.adamw import adamw_groups
from cwm_train.optim.config import Soap

_SIDES = ("left", "right")


class SoapWithAdamW(torch.optim.AdamW):
    """One optimizer: groups marked ``soap`` take SOAP's step, the others AdamW's."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have gradients."""
        groups = self.param_groups
        for group in groups:
            if group.get("soap"):
                self._soap_step(group)
        try:
            self.param_groups = [g for g in groups if not g.get("soap")]
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _soap_step(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        states = [self.state[p] for p in parameters]
        turned = [_observe(s, p.grad, group) for s, p in zip(states, parameters)]
        updates = [torch.zeros_like(p) for p in parameters]  # AdamW moves these from zero
        adamw(
            updates,
            turned,
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [],
            [s["step"] for s in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )
        keep = 1 - group["lr"] * group["weight_decay"]
        for parameter, state, update in zip(parameters, states, updates):
            _apply(parameter, state, update, keep)


def _observe(state: dict[str, Any], grad: Tensor, group: dict[str, Any]) -> Tensor:
    """Learn the preconditioners from a gradient; return it in their eigenbasis."""
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=grad.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(grad), torch.zeros_like(grad)
    step = int(state["step"])
    if step % group["gather_every"] == 0:
        beta = group["gather_beta"] ** group["gather_every"]
        for side, x in zip(_SIDES, (grad, grad.T)):
            if len(x) <= group["max_side"]:
                _gather(state, side, x, beta)
    if step and step % group["turn_every"] == 0:
        _turn(state)
    if "left" in state:
        grad = state["left"].T @ grad
    return grad @ state["right"] if "right" in state else grad


def _gather(state: dict[str, Any], side: str, x: Tensor, beta: float) -> None:
    name = f"{side}_average"
    if name in state:
        state[name].addmm_(x, x.T, beta=beta, alpha=1 - beta)
    else:
        state[name] = x @ x.T
        state[side] = _eigenvectors(state[name]).contiguous()


def _eigenvectors(matrix: Tensor) -> Tensor:
    """Return eigenvectors, largest eigenvalues first; roughly, where LAPACK finds no exact ones."""
    try:
        return torch.linalg.eigh(matrix)[1].flip(1)
    except torch.linalg.LinAlgError:  # seen on a first gradient; later steps turn the basis anyway
        return torch.linalg.qr(matrix)[0]


def _turn(state: dict[str, Any]) -> None:
    """Do one orthogonal iteration, largest eigenvalues first; the moments turn along."""
    for dim, side in enumerate(_SIDES):
        if side not in state:
            continue
        product = state[f"{side}_average"] @ state[side]
        order = (state[side] * product).sum(0).argsort(descending=True)
        # one memory layout, fresh or resumed: products of another round otherwise
        basis = torch.linalg.qr(product[:, order])[0].contiguous()
        change, mean = basis.T @ state[side], state["exp_avg"]
        state["exp_avg"] = change @ mean if side == "left" else mean @ change.T
        state["exp_avg_sq"] = state["exp_avg_sq"].index_select(dim, order)
        state[side] = basis


def _apply(parameter: Tensor, state: dict[str, Any], update: Tensor, keep: float) -> None:
    if "left" in state:
        update = state["left"] @ update
    if "right" in state:
        parameter.addmm_(update, state["right"].T, beta=keep)
    else:
        parameter.mul_(keep).add_(update)


def build_soap(config: Soap, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> SoapWithAdamW:
    """Build the optimizer; raise `ConfigError` for parameters that are spread over processes."""
    named = list(named_parameters)
    if any(isinstance(p, DTensor) for _, p in named):
        raise ConfigError(
            "soap needs whole matrices, and these are spread over processes",
            "use optimizer=muon or optimizer=adamw, or train in one process",
        )
    matrices = [(n, p) for n, p in named if p.ndim == 2 and min(p.shape) <= config.max_side]
    rest = [(n, p) for n, p in named if p.ndim != 2 or min(p.shape) > config.max_side]
    soap = {
        "soap": True,
        "gather_beta": config.gather_beta,
        "gather_every": config.gather_every,
        "turn_every": config.turn_every,
        "max_side": config.max_side,
    }
    groups = [{**group, **soap} for group in adamw_groups(config, matrices)]
    return SoapWithAdamW([*groups, *adamw_groups(config, rest)], fused=True)
