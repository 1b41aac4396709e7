"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """``average = decay * average + (1 - decay) * weights`` after every step.

    Early on the decay is smaller, (1 + steps) / (10 + steps), so that initial weights fade.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters: list[Tensor] = list(model.parameters())
        self._decay = decay
        self.named = {name: p.detach().clone() for name, p in model.named_parameters()}
        """The averages, by the names of the parameters."""
        self.averages: list[Tensor] = list(self.named.values())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the current weights in."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.averages, self._parameters, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Swap the averages into the model while the block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self._parameters, self.averages):
            weights = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(weights)
