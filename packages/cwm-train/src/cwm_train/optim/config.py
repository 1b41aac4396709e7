"""Configuration of the optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class AdamW(ComponentConfig):
    """AdamW (arXiv 1711.05101); norms and embeddings are not decayed."""

    lr: float = Field(4e-3, gt=0)
    """Peak learning rate."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(0.95, ge=0, lt=1)
    """Decay of the second moment."""
    eps: float = Field(1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(0.1, ge=0)
    """Decoupled decay of the matrices."""

    def build(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
        """Build the optimizer."""
        from cwm_train.optim.adamw import build_adamw

        return build_adamw(self, named_parameters)


class Muon(ComponentConfig):
    """Muon (momentum, orthogonalised by Newton-Schulz) for hidden matrices, AdamW for the rest."""

    lr: float = Field(0.02, gt=0)
    """Peak learning rate of the hidden matrices."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Decay of the momentum."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled decay of the hidden matrices."""
    newton_schulz_steps: int = Field(5, ge=1, le=20)
    """Iterations of the orthogonalisation."""
    scale: Literal["shape", "match_rms_adamw"] = "shape"
    """``shape``: update times sqrt(max(1, rows/columns)); ``match_rms_adamw``: times
    0.2*sqrt(max(rows, columns)), so that AdamW's rates fit (arXiv 2502.16982)."""
    adamw: AdamW = AdamW(weight_decay=0.0)
    """Settings for embeddings, output head and norms."""

    def build(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
        """Build the optimizer."""
        from cwm_train.optim.muon import build_muon

        return build_muon(self, named_parameters)


class Soap(AdamW):
    """SOAP: AdamW in the eigenbasis of Shampoo's preconditioners (arXiv 2409.11321).

    Learns more per token than AdamW, for a few small matrix products per step. For one process.
    """

    max_side: int = Field(2048, gt=0)
    """Longest side of a matrix that gets a preconditioner; a side costs about its square times the
    other one. Matrices with two longer sides, and norms, take AdamW's step."""
    gather_beta: float = Field(0.95, ge=0, lt=1)
    """Decay per step of the preconditioners."""
    gather_every: int = Field(1, gt=0)
    """Steps between gradients that the preconditioners see."""
    turn_every: int = Field(10, gt=0)
    """Steps between updates of the eigenbasis."""

    def build(self, named_parameters: Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
        """Build the optimizer."""
        from cwm_train.optim.soap import build_soap

        return build_soap(self, named_parameters)
