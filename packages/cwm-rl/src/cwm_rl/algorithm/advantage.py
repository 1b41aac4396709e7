"""Advantages of the members of a group: the episodes of one task.

Letters: r_i is the return of member i, l_i its number of trained tokens, G the group's size.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cwm_core.errors import DataError


@runtime_checkable
class AdvantageEstimator(Protocol):
    """Turns the returns of a group into one advantage per member."""

    def __call__(self, returns: Sequence[float], lengths: Sequence[int]) -> list[float]:
        """Return the advantages; `lengths` are the numbers of trained tokens."""
        ...


def length_weighted(returns: Sequence[float], lengths: Sequence[int]) -> list[float]:
    """CWM's variant: A_i = r_i - sum_j l_j r_j / sum_j l_j, not divided by a deviation.

    Source: CWM report (arXiv 2510.02387), RL section. Raises DataError when no member has a token.
    """
    _check(returns, lengths)
    total = sum(lengths)
    if total <= 0:
        raise DataError("no episode of the group has a trained token", "drop empty episodes")
    mean = sum(r * n for r, n in zip(returns, lengths, strict=True)) / total
    return [r - mean for r in returns]


def group_normalised(
    returns: Sequence[float], lengths: Sequence[int], epsilon: float = 1e-4
) -> list[float]:
    """GRPO: A_i = (r_i - mean) / (s + epsilon), s the sample deviation (divisor G - 1).

    Source: DeepSeekMath (arXiv 2402.03300), eq. 3 ff. A group of one has advantage 0.
    """
    _check(returns, lengths)
    mean = statistics.fmean(returns)
    deviation = statistics.stdev(returns) if len(returns) > 1 else 0.0
    return [(r - mean) / (deviation + epsilon) for r in returns]


def group_centred(returns: Sequence[float], lengths: Sequence[int]) -> list[float]:
    """Dr. GRPO: A_i = r_i - mean.

    Source: Understanding R1-Zero-Like Training (arXiv 2503.20783), section 3.2.
    """
    _check(returns, lengths)
    mean = statistics.fmean(returns)
    return [r - mean for r in returns]


def leave_one_out(returns: Sequence[float], lengths: Sequence[int]) -> list[float]:
    """RLOO: A_i = r_i - mean of the others = G / (G - 1) * (r_i - mean).

    Source: Back to Basics (arXiv 2402.14740), eq. 8. Raises DataError for a group of one.
    """
    _check(returns, lengths)
    size = len(returns)
    if size < 2:
        raise DataError("leave-one-out needs at least two episodes per task", "raise group_size")
    total = sum(returns)
    return [r - (total - r) / (size - 1) for r in returns]


def informative(advantages: Sequence[float], tolerance: float = 0.0) -> list[bool]:
    """Mark the episodes that teach something: |A_i| > `tolerance`.

    CWM skips zero-advantage trajectories when it fills a batch: their gradient is zero.
    """
    return [abs(advantage) > tolerance for advantage in advantages]


def _check(returns: Sequence[float], lengths: Sequence[int]) -> None:
    if not returns or len(returns) != len(lengths):
        raise DataError(f"a group has {len(returns)} returns and {len(lengths)} lengths")
