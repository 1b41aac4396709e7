"""Policy-gradient losses as pure functions of tensors.

Shape letters: n tokens, of any number of episodes, in any arrangement.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

DIVISOR = 131072
"""CWM's constant: the context length."""


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """A loss to differentiate, and statistics over trained tokens (scalars without gradient)."""

    loss: torch.Tensor
    clipped_low: torch.Tensor
    """Share of tokens with A < 0 whose ratio is below 1 - clip_low."""
    clipped_high: torch.Tensor
    """Share of tokens with A > 0 whose ratio is above 1 + clip_high."""
    log_ratio: torch.Tensor
    """Mean of log pi - log pi_old, in nats."""


def clipped_policy_loss(
    logprobs_n: torch.Tensor,
    old_logprobs_n: torch.Tensor,
    advantages_n: torch.Tensor,
    mask_n: torch.Tensor,
    *,
    clip_low: float = 0.20,
    clip_high: float = 0.25,
    divisor: float = DIVISOR,
) -> PolicyLoss:
    """CWM's GRPO variant.

    L = -1/divisor * sum over trained t of min(rho_t A_t, clip(rho_t, 1 - clip_low, 1 + clip_high)
    A_t), with rho_t = exp(logprobs_t - old_logprobs_t). The divisor is constant: neither length
    nor number of episodes rescales a token. There is no KL term. Tokens outside `mask_n` (prompt
    and environment) take no part, whatever their values, NaN included.

    Source: CWM report (arXiv 2510.02387), RL section; PPO (arXiv 1707.06347), eq. 7; the
    asymmetric clip is DAPO's (arXiv 2503.14476), section 3.1.
    """
    log_ratio_n = logprobs_n.masked_fill(~mask_n, 0) - old_logprobs_n.masked_fill(~mask_n, 0)
    advantage_n = advantages_n.masked_fill(~mask_n, 0)
    ratio_n = log_ratio_n.exp()
    bounded_n = ratio_n.clamp(1 - clip_low, 1 + clip_high)
    gain_n = torch.minimum(ratio_n * advantage_n, bounded_n * advantage_n)
    with torch.no_grad():
        count = mask_n.sum().clamp(min=1)
        low = ((advantage_n < 0) & (ratio_n < 1 - clip_low)).sum() / count
        high = ((advantage_n > 0) & (ratio_n > 1 + clip_high)).sum() / count
        mean_log_ratio = log_ratio_n.sum() / count
    return PolicyLoss(-gain_n.sum() / divisor, low, high, mean_log_ratio)
