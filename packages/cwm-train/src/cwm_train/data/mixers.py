"""Mixers: how many tokens each source has delivered once the mixture has delivered so many.

A mixer is that one function, increasing and without state; so the order of all data follows from
it and a seed, and training can resume anywhere.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cwm_core.errors import ConfigError
from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Lengths = Mapping[str, npt.NDArray[np.int64]]


class Mixer(Protocol):
    """What a mixer's config builds."""

    def delivered(self, tokens: float) -> dict[str, float]:
        """Return how many of the first `tokens` tokens come from each source.

        Where sources are used up for good, the sum stays behind `tokens`.
        """
        ...


def _check_names(names: Iterable[str], lengths: Lengths) -> None:
    if unknown := sorted(set(names) - set(lengths)):
        raise ConfigError(
            f"the mixer names the unknown source {unknown[0]!r}",
            f"sources are {', '.join(sorted(lengths))}",
        )


def _shares(
    weights: Mapping[str, float], lengths: Lengths, temperature: float = 1.0
) -> dict[str, float]:
    """Normalise weights, filled in by size when empty; raise `ConfigError` for unusable ones."""
    if not weights:
        weights = {name: float(tokens.sum()) for name, tokens in lengths.items()}
    _check_names(weights, lengths)
    finite = all(math.isfinite(weight) for weight in weights.values())
    if not finite or min(weights.values()) < 0 or not sum(weights.values()) > 0:
        raise ConfigError(
            f"the mixer's weights {dict(weights)} do not sum to something positive",
            "give at least one source a positive weight, and none a negative one",
        )
    largest = max(weights.values())
    scaled = {name: (w / largest) ** (1 / temperature) if w else 0.0 for name, w in weights.items()}
    total = sum(scaled.values())
    return {name: scaled.get(name, 0.0) / total for name in lengths}


class _Stretch(NamedTuple):
    """Constant shares from `begin` on, where each source has delivered `before`."""

    begin: float
    before: dict[str, float]
    shares: dict[str, float]


class _PiecewiseMixer:
    """Constant shares, stretch after stretch."""

    def __init__(self, stretches: list[_Stretch]) -> None:
        self._stretches = stretches
        self._begins = [stretch.begin for stretch in stretches]

    def delivered(self, tokens: float) -> dict[str, float]:
        begin, before, shares = self._stretches[max(bisect_right(self._begins, tokens) - 1, 0)]
        return {name: before[name] + share * (tokens - begin) for name, share in shares.items()}


def _piecewise(
    stages: Iterable[tuple[float, Mapping[str, float]]], most: Mapping[str, float]
) -> _PiecewiseMixer:
    """Lay out (tokens, shares) stages of which the last is endless; no source exceeds `most`.

    Where a source is used up, the others take its share in proportion to theirs; where all of a
    stage are, the next stage begins.
    """
    begin, before = 0.0, dict.fromkeys(most, 0.0)
    stretches: list[_Stretch] = []
    for length, wanted in stages:
        end = begin + length
        while begin < end:
            open_ = {n: s for n, s in wanted.items() if s > 0 and before[n] < most[n]}
            total = sum(open_.values())
            shares = {name: open_.get(name, 0.0) / (total or 1.0) for name in most}
            stretches.append(_Stretch(begin, dict(before), shares))
            if not open_:
                break
            until = end
            used_up: list[str] = []
            for name in open_:
                full = begin + (most[name] - before[name]) / shares[name]
                if full <= until:
                    used_up = [name] if full < until else [*used_up, name]
                    until = full
            if math.isinf(until):
                return _PiecewiseMixer(stretches)
            before = {name: before[name] + shares[name] * (until - begin) for name in most}
            before |= {name: most[name] for name in used_up}
            begin = until
    stretches.append(_Stretch(begin, dict(before), dict.fromkeys(most, 0.0)))
    return _PiecewiseMixer(stretches)


def _most(max_epochs: Mapping[str, float], lengths: Lengths) -> dict[str, float]:
    _check_names(max_epochs, lengths)
    return {
        name: float(tokens.sum()) * max_epochs.get(name, math.inf)
        for name, tokens in lengths.items()
    }


class Weighted(ComponentConfig):
    """Constant shares of the tokens; by default in proportion to the sources' sizes."""

    weights: dict[str, float] = Field({})
    """Weight of each source by name; sources that are not named get none."""
    temperature: float = Field(1.0, gt=0)
    """Shares are the weights (or sizes) to the power of 1/temperature: above 1 evens them out."""
    max_epochs: dict[str, float] = Field({})
    """How often a source is read at most; then the others take its share in proportion to theirs.
    When all are used up, training ends with a message."""

    def build(self, lengths: Lengths, seed: int = 0) -> Mixer:
        """Build the mixer for sources whose documents have these lengths."""
        shares = _shares(self.weights, lengths, self.temperature)
        return _piecewise([(math.inf, shares)], _most(self.max_epochs, lengths))


class Stage(BaseModel):
    """A part of a staged mixture."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tokens: float | None = Field(None, gt=0)
    """How long it lasts; the last stage has none and is endless."""
    weights: dict[str, float] = Field({})
    """Weight of each source by name; in proportion to the sources' sizes if empty."""
    temperature: float = Field(1.0, gt=0)
    """Shares are the weights (or sizes) to the power of 1/temperature."""


class Staged(ComponentConfig):
    """Stages of constant shares, one after the other."""

    stages: tuple[Stage, ...] = Field((Stage(),), min_length=1)
    """The stages; each but the last says for how many tokens."""
    max_epochs: dict[str, float] = Field({})
    """How often a source is read at most, over all stages; then the others of a stage take its
    share. A stage without any source left is skipped; after the last, training ends."""

    @model_validator(mode="after")
    def _lengths_given(self) -> Staged:
        if any(stage.tokens is None for stage in self.stages[:-1]):
            raise ValueError("every stage but the last needs `tokens`")
        if self.stages[-1].tokens is not None:
            raise ValueError("the last stage is endless: leave out its `tokens`")
        return self

    def build(self, lengths: Lengths, seed: int = 0) -> Mixer:
        """Build the mixer for sources whose documents have these lengths."""
        stages = [
            (stage.tokens or math.inf, _shares(stage.weights, lengths, stage.temperature))
            for stage in self.stages
        ]
        return _piecewise(stages, _most(self.max_epochs, lengths))


class Sequential(ComponentConfig):
    """One source after the other, then the last one for ever."""

    order: tuple[str, ...] = ()
    """Names of the sources; by default all, in the order of the configuration."""
    epochs: dict[str, float] = Field({})
    """How often each source is read; once by default."""

    def build(self, lengths: Lengths, seed: int = 0) -> Mixer:
        """Build the mixer for sources whose documents have these lengths."""
        order = self.order or tuple(lengths)
        _check_names((*order, *self.epochs), lengths)
        sizes = {name: float(lengths[name].sum()) * self.epochs.get(name, 1.0) for name in order}
        stages = [(sizes[name], {name: 1.0}) for name in order[:-1]]
        return _piecewise([*stages, (math.inf, {order[-1]: 1.0})], _most({}, lengths))


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
