"""Configuration of the policy losses; light, so that help and validation stay fast."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from cwm_rl.algorithm.tokens import PolicyLoss, PolicyObjective, TokenBatch, Totals


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss with its constants."""

    function: Callable[[TokenBatch, Totals], PolicyLoss]
    needs_reference: bool = False

    def __call__(self, batch: TokenBatch, totals: Totals) -> PolicyLoss:
        """Return the batch's part of the loss of a whole step."""
        return self.function(batch, totals)


class PolicyLossConfig(ComponentConfig):
    """Base of the losses of this package: `build` names a function of `cwm_rl.algorithm.loss`."""

    def _objective(self, function: str, *, reference: bool = False) -> PolicyObjective:
        from cwm_rl.algorithm import loss

        constants: dict[str, Any] = self.model_dump(exclude={"name"})
        return Objective(partial(getattr(loss, function), **constants), reference)


class CwmLossConfig(PolicyLossConfig):
    """Clipped ratios over a constant divisor, no KL term, as CWM trains."""

    clip_low: float = Field(0.20, ge=0, le=1)
    """How far a ratio counts below 1."""
    clip_high: float = Field(0.25, ge=0)
    """How far a ratio counts above 1."""
    divisor: float = Field(131072, gt=0)
    """What the sum over tokens is divided by, whatever the batch; CWM's is its context length."""

    def build(self) -> PolicyObjective:
        """Return the loss."""
        return self._objective("cwm_loss")


class GrpoLossConfig(PolicyLossConfig):
    """Clipped ratios, mean over each episode's tokens, then over episodes (GRPO)."""

    clip_low: float = Field(0.2, ge=0, le=1)
    """How far a ratio counts below 1."""
    clip_high: float = Field(0.2, ge=0)
    """How far a ratio counts above 1."""
    kl: float = Field(0.0, ge=0)
    """Weight of the KL divergence to the weights at the start; 0.04 in DeepSeekMath."""

    def build(self) -> PolicyObjective:
        """Return the loss."""
        return self._objective("grpo_loss", reference=self.kl > 0)


class DrGrpoLossConfig(PolicyLossConfig):
    """Clipped ratios over episodes times the most tokens of one (Dr. GRPO)."""

    clip_low: float = Field(0.2, ge=0, le=1)
    """How far a ratio counts below 1."""
    clip_high: float = Field(0.2, ge=0)
    """How far a ratio counts above 1."""
    max_tokens: int = Field(1024, gt=0)
    """Most tokens of an episode, a constant."""

    def build(self) -> PolicyObjective:
        """Return the loss."""
        return self._objective("dr_grpo_loss")


class DapoLossConfig(PolicyLossConfig):
    """Clipped ratios with a higher upper bound, mean over all tokens (DAPO)."""

    clip_low: float = Field(0.2, ge=0, le=1)
    """How far a ratio counts below 1."""
    clip_high: float = Field(0.28, ge=0)
    """How far a ratio counts above 1."""

    def build(self) -> PolicyObjective:
        """Return the loss."""
        return self._objective("dapo_loss")


class CispoLossConfig(PolicyLossConfig):
    """Clipped weights of the log-likelihood; no token loses its gradient (CISPO)."""

    max_ratio: float = Field(5.0, ge=1)
    """Largest weight."""

    def build(self) -> PolicyObjective:
        """Return the loss."""
        return self._objective("cispo_loss")


class GspoLossConfig(PolicyLossConfig):
    """One clipped ratio per episode, the geometric mean of its tokens' (GSPO)."""

    clip_low: float = Field(3e-4, ge=0, le=1)
    """How far a ratio counts below 1."""
    clip_high: float = Field(4e-4, ge=0)
    """How far a ratio counts above 1."""

    def build(self) -> PolicyObjective:
        """Return the loss."""
        return self._objective("gspo_loss")


class ReinforceLossConfig(PolicyLossConfig):
    """Log-likelihood times advantage, without ratios: the loss of RLOO."""

    def build(self) -> PolicyObjective:
        """Return the loss."""
        return self._objective("reinforce_loss")
