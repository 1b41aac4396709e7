"""Configuration of the advantage estimators."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_rl.algorithm.advantage import AdvantageEstimator


class LengthWeightedConfig(ComponentConfig):
    """Return minus the group's length-weighted mean, as CWM does."""

    def build(self) -> AdvantageEstimator:
        """Return the estimator."""
        from cwm_rl.algorithm.advantage import length_weighted

        return length_weighted


class GroupNormalisedConfig(ComponentConfig):
    """Return minus the group's mean, divided by its deviation (GRPO)."""

    epsilon: float = Field(1e-4, ge=0)
    """Added to the deviation."""

    def build(self) -> AdvantageEstimator:
        """Return the estimator."""
        from cwm_rl.algorithm.advantage import group_normalised

        return functools.partial(group_normalised, epsilon=self.epsilon)


class GroupCentredConfig(ComponentConfig):
    """Return minus the group's mean (Dr. GRPO)."""

    def build(self) -> AdvantageEstimator:
        """Return the estimator."""
        from cwm_rl.algorithm.advantage import group_centred

        return group_centred


class LeaveOneOutConfig(ComponentConfig):
    """Return minus the mean of the group's other members (RLOO)."""

    def build(self) -> AdvantageEstimator:
        """Return the estimator."""
        from cwm_rl.algorithm.advantage import leave_one_out

        return leave_one_out
