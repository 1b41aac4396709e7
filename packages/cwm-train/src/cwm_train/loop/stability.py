"""Steps that would do harm: not finite, or far above what was usual lately."""

from __future__ import annotations

import math
import statistics

WINDOW = 128
"""Steps that say what is usual; half of them must be there for a judgement."""


class Stability:
    """Judges each step before the weights change.

    A spike is a loss or gradient norm more than `sigmas` standard deviations above its mean over
    the last `WINDOW` steps, as in the skip-step optimizers of OLMo 2 (arXiv 2501.00656). Spikes
    count for the mean, so that a lasting change is soon the usual.
    """

    def __init__(self, sigmas: float | None, recent: dict[str, list[float]]) -> None:
        self._sigmas, self._recent = sigmas, recent

    def problem(self, **values: float) -> str | None:
        """Say why a step with these values should be skipped, `None` if all is well."""
        for name, value in values.items():
            if not math.isfinite(value):
                return f"{name.replace('_', ' ')} is {value}"
        if self._sigmas is None:
            return None
        found = [self._spike(name, value) for name, value in values.items()]
        return next((text for text in found if text), None)

    def _spike(self, name: str, value: float) -> str | None:
        recent = self._recent.setdefault(name, [])
        usual = list(recent)
        recent.append(value)
        del recent[:-WINDOW]
        if len(usual) < WINDOW // 2:
            return None
        mean, deviation = statistics.fmean(usual), statistics.pstdev(usual)
        if value <= mean + (self._sigmas or 0.0) * deviation:
            return None
        return (
            f"{name.replace('_', ' ')} {value:.4g} is a spike: {mean:.4g} ± {deviation:.2g} is "
            "usual"
        )
