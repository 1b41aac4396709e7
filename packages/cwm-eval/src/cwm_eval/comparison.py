"""Paired comparison of two runs, and how many problems a comparison needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cwm_eval.statistics import RESAMPLES

_EXACT_PAIRS = 15
_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the problems that both have.

    `difference` is the mean of second minus first, with a bootstrap interval over problems;
    `p_value` is two-sided, of the sign-flip permutation test on the problems' differences: how
    often chance alone makes a difference as large, were the runs interchangeable per problem.
    """

    problems: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    better: int
    """Problems on which the second run is better."""
    worse: int
    only_first: int
    """Problems that the second run lacks; they are left out."""
    only_second: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON; NaN becomes null."""
        values = asdict(self)
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def compare(
    first: Mapping[str, float], second: Mapping[str, float], *, seed: int = 0
) -> Comparison:
    """Compare mean scores (0 to 1) by problem. Problems are the units: answers to one are averaged.

    NaN throughout when no problem is in both.
    """
    shared = [name for name in first if name in second]
    left = np.array([first[name] for name in shared], dtype=float)
    right = np.array([second[name] for name in shared], dtype=float)
    deltas = right - left
    low, high = _interval(deltas, seed)
    return Comparison(
        problems=len(shared),
        first=_mean(left),
        second=_mean(right),
        difference=_mean(deltas),
        low=low,
        high=high,
        p_value=sign_flip_p_value(deltas, seed=seed),
        better=int((deltas > 0).sum()),
        worse=int((deltas < 0).sum()),
        only_first=len(first) - len(shared),
        only_second=len(second) - len(shared),
    )


def sign_flip_p_value(
    deltas: NDArray[Any] | list[float], *, draws: int = 20_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of paired differences under random signs.

    Exact for up to 15 differences that are not 0, which for right-or-wrong answers is McNemar's
    exact test; else by seeded draws, counting the observed signs as one of them (Phipson & Smyth
    2010), so never 0.
    """
    values = np.asarray(deltas, dtype=float)
    if len(values) == 0:
        return math.nan
    moved = values[values != 0]
    observed = abs(moved.sum())
    if len(moved) == 0:
        return 1.0
    if len(moved) <= _EXACT_PAIRS:
        bits = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        sums = np.abs((2 * bits - 1) @ moved)
        return float((sums >= observed - 1e-12).mean())
    rng = np.random.default_rng(seed)
    hits, done = 0, 0
    while done < draws:
        batch = min(draws - done, max(1, _CELLS // len(moved)))
        signs = rng.integers(0, 2, size=(batch, len(moved)), dtype=np.int8) * 2 - 1
        hits += int((np.abs(signs @ moved) >= observed - 1e-12).sum())
        done += batch
    return (hits + 1) / (draws + 1)


def problems_needed(
    first: float,
    second: float,
    *,
    discordant: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int:
    """Return how many problems show a difference between two accuracies with this power.

    For paired right-or-wrong outcomes. `discordant` is the share of problems on which the runs
    differ (known from a pilot); by default that of independent runs, which is on the safe side.
    Formula: Connor 1987 (Biometrics 43, 207-211), two-sided McNemar test.

    Raises ValueError for shares outside of 0 to 1, equal ones, and an impossible `discordant`.
    """
    from scipy import stats  # type: ignore[import-untyped]

    if not (0 <= first <= 1 and 0 <= second <= 1) or first == second:
        raise ValueError(f"accuracies {first} and {second}: need two different shares")
    gap = abs(second - first)
    if discordant is None:
        discordant = first * (1 - second) + second * (1 - first)
    if not gap <= discordant <= 1:
        raise ValueError(f"discordant {discordant}: must be between {gap:.4g} and 1")
    z_alpha, z_beta = stats.norm.ppf(1 - alpha / 2), stats.norm.ppf(power)
    root = z_alpha * math.sqrt(discordant) + z_beta * math.sqrt(discordant - gap**2)
    return math.ceil((root / gap) ** 2)


def detectable_difference(
    problems: int, discordant: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the smallest difference that so many problems show with this power; NaN if none."""
    from scipy import optimize, stats

    if problems < 1 or not 0 < discordant <= 1:
        return math.nan
    z_alpha, z_beta = stats.norm.ppf(1 - alpha / 2), stats.norm.ppf(power)

    def missing(gap: float) -> float:
        root = z_alpha * math.sqrt(discordant) + z_beta * math.sqrt(discordant - gap**2)
        return float(root - gap * math.sqrt(problems))

    most = discordant if discordant < 1 else 1.0
    if missing(most) > 0:
        return math.nan
    return float(optimize.brentq(missing, 1e-9, most))


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _interval(deltas: NDArray[Any], seed: int) -> tuple[float, float]:
    """Percentile bootstrap over problems."""
    if len(deltas) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means: list[float] = []
    while len(means) < RESAMPLES:
        batch = min(RESAMPLES - len(means), max(1, _CELLS // len(deltas)))
        index = rng.integers(0, len(deltas), size=(batch, len(deltas)))
        means += deltas[index].mean(axis=1).tolist()
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
