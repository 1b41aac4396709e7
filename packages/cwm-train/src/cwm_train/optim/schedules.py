"""Learning-rate schedules: the factor on the peak rate as a function of progress in 0..1."""

from __future__ import annotations

import math
from collections.abc import Callable

from pydantic import Field, model_validator

from cwm_core.plugins import ComponentConfig


class _WarmUp(ComponentConfig):
    warmup: float = Field(0.02, ge=0, lt=1)
    """Share of the budget in which the rate rises linearly from (nearly) zero."""
    floor: float = Field(0.0, ge=0, le=1)
    """Final rate as a fraction of the peak."""

    def _factor(self, progress: float) -> float:
        raise NotImplementedError

    def build(self) -> Callable[[float], float]:
        """Return the factor as a function of progress; progress is clamped to 0..1."""

        def factor(progress: float) -> float:
            progress = min(max(progress, 0.0), 1.0)
            if progress < self.warmup:
                return max(progress / self.warmup, 1e-3)
            return self._factor(progress)

        return factor

    def _decayed(self, decay: float) -> float:
        return self.floor + (1 - self.floor) * decay


class Cosine(_WarmUp):
    """Half a cosine from the peak to the floor."""

    def _factor(self, progress: float) -> float:
        share = (progress - self.warmup) / (1 - self.warmup)
        return self._decayed(0.5 * (1 + math.cos(math.pi * share)))


class Linear(_WarmUp):
    """A straight line from the peak to the floor."""

    def _factor(self, progress: float) -> float:
        return self._decayed((1 - progress) / (1 - self.warmup))


class Wsd(_WarmUp):
    """Warm-up, stable, decay: constant at the peak, then a straight line to the floor."""

    decay: float = Field(0.4, gt=0, le=1)
    """Share of the budget in which the rate falls."""

    @model_validator(mode="after")
    def _fits(self) -> Wsd:
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup ({self.warmup}) and decay ({self.decay}) exceed the budget")
        return self

    def _factor(self, progress: float) -> float:
        return self._decayed(min(1.0, (1 - progress) / self.decay))
