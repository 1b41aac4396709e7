"""AdamW with decay on matrices only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from cwm_train.optim.config import AdamW


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter is a matrix between hidden layers (no embedding, head or norm)."""
    return parameter.ndim == 2 and not any(part in name for part in ("embed_tokens", "lm_head"))


def adamw_groups(
    config: AdamW, named_parameters: Iterable[tuple[str, nn.Parameter]]
) -> list[dict[str, Any]]:
    """Return parameter groups: decayed matrices, and the rest."""
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in named_parameters:
        (decayed if is_hidden_matrix(name, parameter) else rest).append(parameter)
    shared = {"lr": config.lr, "betas": (config.beta1, config.beta2), "eps": config.eps}
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay, **shared},
        {"params": rest, "weight_decay": 0.0, **shared},
    ]
    return [group for group in groups if group["params"]]


def build_adamw(
    config: AdamW, named_parameters: Iterable[tuple[str, nn.Parameter]]
) -> torch.optim.AdamW:
    """Build torch's fused AdamW."""
    return torch.optim.AdamW(adamw_groups(config, named_parameters), fused=True)
