"""Policy-gradient losses as pure functions.

Letters: rho_t = pi(t) / pi_old(t) of token t, A_t its advantage, w_t its constant weight (1 unless
the batch has some), L_i the trained tokens of episode i, E and T the episodes and tokens of the
whole step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cwm_rl.algorithm.tokens import DIVISOR, PolicyLoss, TokenBatch, Totals


def cwm_loss(
    batch: TokenBatch,
    totals: Totals,
    *,
    clip_low: float = 0.20,
    clip_high: float = 0.25,
    divisor: float = DIVISOR,
) -> PolicyLoss:
    """CWM's GRPO variant: -1/divisor sum_t w_t min(rho_t A_t, clip(rho_t, 1-low, 1+high) A_t).

    The divisor is constant: neither length nor number of episodes rescales a token. No KL term.
    Source: CWM report (arXiv 2510.02387), RL section; PPO (arXiv 1707.06347), eq. 7.
    """
    gain_n, sums = _clipped(batch, clip_low, clip_high)
    return PolicyLoss(-gain_n.sum() / divisor, sums)


def grpo_loss(
    batch: TokenBatch,
    totals: Totals,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl: float = 0.0,
) -> PolicyLoss:
    """GRPO: -1/E sum_i 1/L_i sum_t (w_t min(rho_t A_t, clip(rho_t) A_t) - kl K_t).

    K_t = r - log r - 1 with r = pi_ref(t) / pi(t). Source: DeepSeekMath (arXiv 2402.03300), eq. 3
    and 4; the mean over the episodes of a group is one over those of the step, as in TRL.
    """
    gain_n, sums = _clipped(batch, clip_low, clip_high)
    if kl:
        penalty_n = _kl_to_reference(batch)
        gain_n = gain_n - kl * penalty_n
        sums = {**sums, "kl": penalty_n.detach().sum()}
    mean_e = batch.per_episode(gain_n) / batch.lengths_e()
    return PolicyLoss(-mean_e.sum() / max(totals.episodes, 1), sums)


def dr_grpo_loss(
    batch: TokenBatch,
    totals: Totals,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    max_tokens: int = 1024,
) -> PolicyLoss:
    """Dr. GRPO: -1/(E max_tokens) sum_t w_t min(rho_t A_t, clip(rho_t) A_t).

    Source: Understanding R1-Zero-Like Training (arXiv 2503.20783), section 3.2 and listing 1.
    """
    gain_n, sums = _clipped(batch, clip_low, clip_high)
    return PolicyLoss(-gain_n.sum() / (max(totals.episodes, 1) * max_tokens), sums)


def dapo_loss(
    batch: TokenBatch, totals: Totals, *, clip_low: float = 0.2, clip_high: float = 0.28
) -> PolicyLoss:
    """DAPO: -1/T sum_t w_t min(rho_t A_t, clip(rho_t, 1-low, 1+high) A_t).

    Source: DAPO (arXiv 2503.14476), eq. 8: "clip higher" and a mean over tokens.
    """
    gain_n, sums = _clipped(batch, clip_low, clip_high)
    return PolicyLoss(-gain_n.sum() / max(totals.tokens, 1), sums)


def cispo_loss(batch: TokenBatch, totals: Totals, *, max_ratio: float = 5.0) -> PolicyLoss:
    """CISPO: -1/T sum_t w_t stop_gradient(min(rho_t, max_ratio)) A_t log pi(t).

    The weight is clipped, not the gradient: every token keeps teaching. `max_ratio` is 1 + the
    paper's upper epsilon; there is no lower bound. Source: MiniMax-M1 (arXiv 2506.13585), eq. 4, 5.
    """
    ratio_n = batch.log_ratio_n.detach().exp()
    weight_n = _weighted(batch, ratio_n.clamp(max=max_ratio))
    gain_n = weight_n * batch.advantages_n * batch.logprobs_n
    high = (ratio_n > max_ratio).sum()
    sums = {"clipped_low": torch.zeros_like(high), "clipped_high": high}
    sums["log_ratio"] = batch.log_ratio_n.detach().sum()
    return PolicyLoss(-gain_n.sum() / max(totals.tokens, 1), sums)


def gspo_loss(
    batch: TokenBatch, totals: Totals, *, clip_low: float = 3e-4, clip_high: float = 4e-4
) -> PolicyLoss:
    """GSPO: -1/E sum_i w_i min(s_i A_i, clip(s_i, 1-low, 1+high) A_i), w_i the mean of w_t.

    s_i = exp(1/L_i sum_t log rho_t), the geometric mean of an episode's ratios. Source: GSPO
    (arXiv 2507.18071), eq. 5 and 7.
    """
    lengths_e = batch.lengths_e()
    ratio_e = (batch.per_episode(batch.log_ratio_n) / lengths_e).exp()
    advantage_e = batch.per_episode(batch.advantages_n) / lengths_e
    ones_n = torch.ones_like(batch.advantages_n)
    weight_e = batch.per_episode(_weighted(batch, ones_n)) / lengths_e
    bounded_e = ratio_e.clamp(1 - clip_low, 1 + clip_high)
    gain_e = weight_e * torch.minimum(ratio_e * advantage_e, bounded_e * advantage_e)
    low_e = (advantage_e < 0) & (ratio_e < 1 - clip_low)
    high_e = (advantage_e > 0) & (ratio_e > 1 + clip_high)
    sums = {"clipped_low": (low_e * lengths_e).sum(), "clipped_high": (high_e * lengths_e).sum()}
    sums["log_ratio"] = batch.log_ratio_n.detach().sum()
    return PolicyLoss(-gain_e.sum() / max(totals.episodes, 1), sums)


def reinforce_loss(batch: TokenBatch, totals: Totals) -> PolicyLoss:
    """REINFORCE, the loss of RLOO: -1/E sum_i A_i sum_t w_t log pi(t).

    Uncorrected for old data: use it with a staleness bound of 0, or with truncated importance
    weights. Source: Back to Basics (arXiv 2402.14740), eq. 8.
    """
    gain_n = _weighted(batch, batch.advantages_n) * batch.logprobs_n
    zero = torch.zeros((), dtype=torch.int64, device=gain_n.device)
    sums = {"clipped_low": zero, "clipped_high": zero}
    sums["log_ratio"] = batch.log_ratio_n.detach().sum()
    return PolicyLoss(-gain_n.sum() / max(totals.episodes, 1), sums)


def truncated_importance(
    trainer_logprobs_n: Tensor, engine_logprobs_n: Tensor, cap: float = 2.0
) -> Tensor:
    """Weights against a mismatch of trainer and engine: min(pi_trainer / pi_engine, cap).

    Both are of the weights that sampled, as each computes them; no gradient flows. Source: "Your
    efficient RL framework secretly brings you off-policy RL training" (Yao et al. 2025), where the
    cap is called C.
    """
    return (trainer_logprobs_n - engine_logprobs_n).detach().exp().clamp(max=cap)


def _clipped(
    batch: TokenBatch, clip_low: float, clip_high: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return w min(rho A, clip(rho) A) of every token, and what was clipped."""
    advantage_n = batch.advantages_n
    ratio_n = batch.log_ratio_n.exp()
    bounded_n = ratio_n.clamp(1 - clip_low, 1 + clip_high)
    gain_n = torch.minimum(ratio_n * advantage_n, bounded_n * advantage_n)
    with torch.no_grad():
        sums = {
            "clipped_low": ((advantage_n < 0) & (ratio_n < 1 - clip_low)).sum(),
            "clipped_high": ((advantage_n > 0) & (ratio_n > 1 + clip_high)).sum(),
            "log_ratio": batch.log_ratio_n.sum(),
        }
    return _weighted(batch, gain_n), sums


def _weighted(batch: TokenBatch, values_n: Tensor) -> Tensor:
    return values_n if batch.weights_n is None else batch.weights_n * values_n


def _kl_to_reference(batch: TokenBatch) -> Tensor:
    if batch.reference_logprobs_n is None:
        raise ValueError("a KL term needs reference_logprobs_n")
    log_r_n = batch.reference_logprobs_n - batch.logprobs_n
    return log_r_n.exp() - log_r_n - 1
