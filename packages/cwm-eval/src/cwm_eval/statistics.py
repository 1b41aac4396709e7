"""Confidence intervals, pass@k and majority@k."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2000
_CELLS_PER_BATCH = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with the two-sided confidence interval around it.

    `count` is the number of units that `value` averages over, `clusters` the number of independent
    groups they fall into. Without any unit everything but the counts is NaN; with one cluster of
    several units the interval is NaN, since nothing says how clusters differ.
    """

    value: float
    count: int
    low: float
    high: float
    clusters: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; NaN becomes null."""
        return {
            "value": _plain(self.value),
            "count": self.count,
            "low": _plain(self.low),
            "high": _plain(self.high),
            "clusters": self.clusters,
        }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def wilson(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson 1927); NaN when `count` is 0."""
    if count == 0:
        return math.nan, math.nan
    from scipy import stats  # type: ignore[import-untyped]

    interval = stats.binomtest(successes, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def cluster_bootstrap(
    sums: ArrayLike,
    sizes: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of ``sum(sums) / sum(sizes)`` when clusters are resampled.

    `sums[c]` is the sum of a quantity over the units of cluster c and `sizes[c]` their number.
    Percentile bootstrap of Efron, clusters drawn whole with replacement (Field & Welsh 2007).
    """
    sums_c, sizes_c = np.asarray(sums, dtype=float), np.asarray(sizes, dtype=float)
    if len(sums_c) < 2:
        return math.nan, math.nan
    from scipy import stats  # takes a second to import; the runner needs none of it

    interval = stats.bootstrap(
        (sums_c, sizes_c),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _CELLS_PER_BATCH // len(sums_c)),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _ratio(sums: NDArray[Any], sizes: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    return sums.sum(axis=axis) / sizes.sum(axis=axis)


def proportion(
    outcomes: Sequence[bool] | NDArray[Any],
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate how often something is true, for units that may repeat within a cluster.

    Independent units (each its own cluster) get Wilson's interval. Repeating ones get the cluster
    bootstrap, except where all outcomes agree: resampling would then claim certainty, so Wilson's
    interval over the clusters is given.
    """
    values = np.asarray(outcomes, dtype=float)
    sums, sizes = _by_cluster(values, clusters)
    count, found = len(values), len(sums)
    if count == 0:
        return Estimate(math.nan, 0, math.nan, math.nan, 0)
    share = float(values.mean())
    if found == count or share in (0.0, 1.0):
        low, high = wilson(round(share * found), found, confidence)
    else:
        low, high = cluster_bootstrap(sums, sizes, confidence=confidence, seed=seed)
    return Estimate(share, count, low, high, found)


def mean(
    sums: Sequence[float],
    sizes: Sequence[int],
    clusters: Sequence[Hashable],
    *,
    share: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate ``sum(sums) / sum(sizes)``; rows with the same cluster are resampled together.

    For quantities counted in bulk, such as right tokens (`sums`) of all tokens (`sizes`) per trace.
    A `share` of exactly 0 or 1 gets the interval that `proportion` gives it.
    """
    count = int(sum(sizes))
    if count == 0:
        return Estimate(math.nan, 0, math.nan, math.nan, 0)
    per_sum, _ = _by_cluster(np.asarray(sums, dtype=float), clusters)
    per_size, _ = _by_cluster(np.asarray(sizes, dtype=float), clusters)
    ratio = float(sum(sums)) / count
    if share and ratio in (0.0, 1.0):
        low, high = wilson(round(ratio) * len(per_sum), len(per_sum), confidence)
    else:
        low, high = cluster_bootstrap(per_sum, per_size, confidence=confidence, seed=seed)
    return Estimate(ratio, count, low, high, len(per_sum))


def mean_of(values: Sequence[float], clusters: Sequence[Hashable], seed: int = 0) -> Estimate:
    """Estimate the mean of values between 0 and 1, for units that may repeat within a cluster."""
    return mean(values, [1] * len(values), clusters, share=True, seed=seed)


def _by_cluster(
    values: NDArray[Any], clusters: Sequence[Hashable]
) -> tuple[NDArray[Any], NDArray[Any]]:
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(name, len(numbers)) for name in clusters], dtype=int)
    sums = np.bincount(index, weights=values, minlength=len(numbers))
    return sums, np.bincount(index, minlength=len(numbers))


def pass_at_k(count: int, right: int, k: int) -> float:
    """Return the unbiased estimate of pass@k: ``1 - C(n - c, k) / C(n, k)``.

    `count` samples (n) of which `right` (c) pass. NaN when n < k: fewer samples than k say nothing
    about k of them. Formula: Chen et al. 2021 (arXiv 2107.03374), equation 1.
    """
    if k < 1 or not 0 <= right <= count:
        raise ValueError(f"pass@{k} of {right} right among {count} is not defined")
    if count < k:
        return math.nan
    return 1.0 - math.comb(count - right, k) / math.comb(count, k)


MOST_SUBSETS = 2000


def subsets(
    count: int, k: int, *, most: int = MOST_SUBSETS, seed: int = 0
) -> Iterable[Sequence[int]]:
    """Yield sorted subsets of k of `count` indices: all, or `most` random ones (seeded)."""
    if math.comb(count, k) <= most:
        return itertools.combinations(range(count), k)
    order = np.random.default_rng(seed).random((most, count)).argsort(axis=1)
    drawn: list[list[int]] = np.sort(order[:, :k], axis=1).tolist()
    return drawn


def majority_at_k(
    answers: Sequence[Hashable],
    right: Sequence[bool],
    k: int | None = None,
    *,
    most: int = MOST_SUBSETS,
    seed: int = 0,
) -> float:
    """Return how often the most frequent of k answers is right, over all choices of k of them.

    Equal answers vote together; `None` is no vote. Among equally frequent answers each is as
    likely, so ties count in part. All answers by default; NaN when there are fewer than k. Where
    there are more than `most` choices, so many random ones (seeded) are taken.
    """
    count = len(answers)
    if len(right) != count:
        raise ValueError(f"{count} answers but {len(right)} verdicts")
    k = count if k is None else k
    if k < 1:
        raise ValueError(f"majority@{k} is not defined")
    if count < k:
        return math.nan
    choices = subsets(count, k, most=most, seed=seed)
    return float(np.mean([_vote(answers, right, choice) for choice in choices]))


def _vote(answers: Sequence[Hashable], right: Sequence[bool], choice: Sequence[int]) -> float:
    groups: dict[Hashable, list[bool]] = {}
    for index in choice:
        if answers[index] is not None:
            groups.setdefault(answers[index], []).append(right[index])
    if not groups:
        return 0.0
    most = max(len(group) for group in groups.values())
    winners = [group for group in groups.values() if len(group) == most]
    return sum(sum(group) / len(group) for group in winners) / len(winners)
