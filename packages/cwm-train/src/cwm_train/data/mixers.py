"""Mixers: how many tokens each source has delivered once the mixture has delivered so many.

A mixer is that one function, increasing and without state; so the order of all data follows from
it and a seed, and training can resume anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from pydantic import Field

from cwm_core.errors import ConfigError
from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Lengths = Mapping[str, npt.NDArray[np.int64]]


class Mixer(Protocol):
    """What a mixer's config builds."""

    def delivered(self, tokens: float) -> dict[str, float]:
        """Return how many of the first `tokens` tokens come from each source."""
        ...


def _shares(weights: Mapping[str, float], lengths: Lengths) -> dict[str, float]:
    """Normalise weights, filled in by size when empty; raise `ConfigError` for unusable ones."""
    if not weights:
        weights = {name: float(tokens.sum()) for name, tokens in lengths.items()}
    if unknown := sorted(set(weights) - set(lengths)):
        raise ConfigError(
            f"the mixer weighs the unknown source {unknown[0]!r}",
            f"sources are {', '.join(sorted(lengths))}",
        )
    if min(weights.values(), default=0.0) < 0 or not sum(weights.values()) > 0:
        raise ConfigError(
            f"the mixer's weights {dict(weights)} do not sum to something positive",
            "give at least one source a positive weight, and none a negative one",
        )
    total = sum(weights.values())
    return {name: weights.get(name, 0.0) / total for name in lengths}


class _WeightedMixer:
    def __init__(self, shares: dict[str, float]) -> None:
        self._shares = shares

    def delivered(self, tokens: float) -> dict[str, float]:
        return {name: share * tokens for name, share in self._shares.items()}


class Weighted(ComponentConfig):
    """Constant shares of the tokens; by default in proportion to the sources' sizes."""

    weights: dict[str, float] = Field({})
    """Weight of each source by name; sources that are not named get none."""

    def build(self, lengths: Lengths, seed: int = 0) -> Mixer:
        """Build the mixer for sources whose documents have these lengths."""
        return _WeightedMixer(_shares(self.weights, lengths))


class _SequentialMixer:
    def __init__(self, budgets: dict[str, float]) -> None:
        self._budgets = budgets

    def delivered(self, tokens: float) -> dict[str, float]:
        left, result, last = tokens, {}, ""
        for name, budget in self._budgets.items():
            result[name] = min(left, budget)
            left -= result[name]
            last = name
        result[last] += left
        return result


class Sequential(ComponentConfig):
    """One source after the other, then the last one for ever."""

    order: tuple[str, ...] = ()
    """Names of the sources; by default all, in the order of the configuration."""
    epochs: dict[str, float] = Field({})
    """How often each source is read; once by default."""

    def build(self, lengths: Lengths, seed: int = 0) -> Mixer:
        """Build the mixer for sources whose documents have these lengths."""
        order = self.order or tuple(lengths)
        if unknown := sorted((set(order) | set(self.epochs)) - set(lengths)):
            raise ConfigError(
                f"the mixer names the unknown source {unknown[0]!r}",
                f"sources are {', '.join(sorted(lengths))}",
            )
        sizes = {name: float(lengths[name].sum()) for name in order}
        return _SequentialMixer({n: size * self.epochs.get(n, 1.0) for n, size in sizes.items()})


class _CurriculumMixer:
    def __init__(self, start: dict[str, float], end: dict[str, float], tokens: float) -> None:
        self._start, self._end, self._tokens = start, end, tokens

    def delivered(self, tokens: float) -> dict[str, float]:
        ramp = min(tokens, self._tokens)
        moved = ramp * ramp / (2 * self._tokens)
        after = tokens - ramp
        return {
            name: first * (ramp - moved) + self._end[name] * (moved + after)
            for name, first in self._start.items()
        }


class Curriculum(ComponentConfig):
    """Shares that move in a straight line from `start` to `end`, then stay."""

    start: dict[str, float] = Field({})
    """Weights at the beginning; by size if empty."""
    end: dict[str, float] = Field({})
    """Weights after `tokens`; by size if empty."""
    tokens: float = Field(1e6, gt=0)
    """How many tokens the move takes."""

    def build(self, lengths: Lengths, seed: int = 0) -> Mixer:
        """Build the mixer for sources whose documents have these lengths."""
        return _CurriculumMixer(
            _shares(self.start, lengths), _shares(self.end, lengths), self.tokens
        )
