"""Model FLOPs utilization (MFU): what share of the hardware's best speed the training reaches."""

from __future__ import annotations

import torch

from cwm_train.model.config import CwmModelConfig

PEAK_FLOPS = {
    "B200": 2250e12,
    "H200": 989.4e12,
    "H100 PCIe": 756e12,
    "H100": 989.4e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L4": 121e12,
    "RTX 4090": 165.2e12,
    "MI300X": 1307.4e12,
}
"""Dense bf16 products, FLOP/s, by a part of the device's name; from the makers' data sheets."""


def flops_per_token(config: CwmModelConfig, length: int) -> float:
    """Return the FLOPs of forward and backward pass per token of a full row of `length` tokens.

    6 per weight of a matrix product (the embedding is none) and, in every layer, 12 per query
    width and token that is seen, as in appendix B of arXiv 2204.02311, but of the tokens before
    (in a sliding layer: in the window) only. Borders of documents are not counted.
    """
    heads = config.num_attention_heads * config.head_dim
    keys = config.num_key_value_heads * config.head_dim
    layer = config.hidden_size * (2 * heads + 2 * keys + 3 * config.intermediate_size)
    weights = config.num_hidden_layers * layer + config.vocab_size * config.hidden_size
    seen = sum(
        _mean_seen(length, config.window(number)) for number in range(config.num_hidden_layers)
    )
    return 6.0 * weights + 12.0 * heads * seen


def _mean_seen(length: int, window: int | None) -> float:
    """Tokens that a token sees, itself included, on average over a row."""
    width = min(window or length, length)
    return width - width * (width - 1) / (2 * length)


class Utilization:
    """MFU of a model on its devices; says nothing where the peak is not known."""

    def __init__(
        self,
        config: CwmModelConfig,
        length: int,
        device: torch.device,
        devices: int,
        peak_flops: float | None = None,
    ) -> None:
        self._flops = flops_per_token(config, length)
        peak = peak_flops or _peak(device)
        self._peak = peak * devices if peak else None

    def metrics(self, tokens_per_s: float) -> dict[str, float]:
        """Return ``mfu``, a share of 1, or nothing."""
        return {"mfu": tokens_per_s * self._flops / self._peak} if self._peak else {}


def _peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)
