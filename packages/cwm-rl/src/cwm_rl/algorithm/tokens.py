"""What policy losses are computed from. Shape letters: n trained tokens, e episodes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

DIVISOR = 131072
"""CWM's constant: the context length."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """The trained tokens of whole episodes, end to end; prompts and observations are left out."""

    logprobs_n: Tensor
    """Of the policy that is trained, in nats; the gradient flows here."""
    old_logprobs_n: Tensor
    """Of the policy that the ratio is taken to: the engine's, or the trainer's before the step."""
    advantages_n: Tensor
    episode_n: Tensor
    """Number of the token's episode in this batch, int64, ascending from 0."""
    weights_n: Tensor | None = None
    """Constant factors of the tokens' terms, such as `truncated_importance`; 1 if `None`."""
    reference_logprobs_n: Tensor | None = None
    """Of the policy that a KL term pulls to."""

    @property
    def log_ratio_n(self) -> Tensor:
        """Return log pi - log pi_old."""
        return self.logprobs_n - self.old_logprobs_n

    def per_episode(self, values_n: Tensor) -> Tensor:
        """Return the sum of the values of each episode, (e,)."""
        count = int(self.episode_n[-1]) + 1 if len(self.episode_n) else 0
        return values_n.new_zeros(count).index_add(0, self.episode_n, values_n)

    def lengths_e(self) -> Tensor:
        """Return the number of tokens of each episode, (e,)."""
        return self.per_episode(torch.ones_like(self.logprobs_n, requires_grad=False).detach())


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over the whole batch of an optimizer step, of which a `TokenBatch` may be a part."""

    tokens: int
    episodes: int


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """A loss to differentiate, and sums over tokens for statistics, without gradient.

    The losses of the parts of a batch add up to that of the whole, and so do the sums.
    """

    loss: Tensor
    sums: dict[str, Tensor] = field(default_factory=dict)
    """``clipped_low``, ``clipped_high``: tokens whose gradient the clip takes away, at the lower
    and at the upper bound; ``log_ratio``, in nats."""

    def plus(self, loss: Tensor, **sums: Tensor) -> PolicyLoss:
        """Return this with a term added to the loss, and further sums."""
        return replace(self, loss=self.loss + loss, sums={**self.sums, **sums})


@runtime_checkable
class PolicyObjective(Protocol):
    """A policy loss with its constants; what components of kind ``policy_losses`` build."""

    @property
    def needs_reference(self) -> bool:
        """Whether it reads `TokenBatch.reference_logprobs_n`."""
        ...

    def __call__(self, batch: TokenBatch, totals: Totals) -> PolicyLoss:
        """Return the batch's part of the loss of a whole step."""
        ...
