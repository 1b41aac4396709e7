"""Confidence intervals and pass@k."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
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
