"""Matrix products in float8 through the library torchao."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from cwm_core.errors import ConfigError
from cwm_train.model.transformer import CwmForCausalLM

OLDEST_GPU = (8, 9)
"""CUDA compute capability of the first GPUs that multiply float8."""


def use_float8(
    model: CwmForCausalLM, recipe: str, device: torch.device, emulate: bool = False
) -> None:
    """Replace the matrices between hidden layers by torchao's float8 linear layers, in place.

    `recipe` is ``tensorwise`` or ``rowwise``. Weights stay in their precision, with their names;
    inputs, weights and gradients are cast for each product. Embedding and head stay as they are.
    Matrices whose sides are no multiples of 16 are left out. `emulate` computes in full precision
    what float8 would give, on any device. Raises ConfigError without torchao or such a GPU.
    """
    if not emulate:
        _check_device(device)
    library = _library()
    config = library.Float8LinearConfig.from_recipe_name(recipe)
    if emulate:
        object.__setattr__(config, "emulate", True)
    library.convert_to_float8_training(
        model.model.layers, config=config, module_filter_fn=_is_wanted
    )


def _is_wanted(module: nn.Module, name: str) -> bool:
    return isinstance(module, nn.Linear) and not (
        module.in_features % 16 or module.out_features % 16
    )


def _check_device(device: torch.device) -> None:
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < OLDEST_GPU:
        raise ConfigError(
            f"float8 needs an NVIDIA GPU of compute capability {OLDEST_GPU[0]}.{OLDEST_GPU[1]} or "
            f"later; this process has {device}",
            "leave float8=none",
        )


def _library() -> Any:
    try:
        return importlib.import_module("torchao.float8")
    except ImportError as error:
        raise ConfigError(
            f"float8 needs the library torchao: {error}",
            "pip install 'cwm-train[float8]', or leave float8=none",
        ) from error
