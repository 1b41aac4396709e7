"""Model FLOPs utilization (MFU): what share of the hardware's best speed the training reaches."""

from __future__ import annotations

import torch

from cwm_train.model.config import CwmModelConfig
from cwm_train.plan.config import GPUS
from cwm_train.plan.speed import flops_per_token


class Utilization:
    """MFU of a model on its devices (appendix B of arXiv 2204.02311).

    Says nothing where the devices' peak is not known. Borders of packed documents are not counted:
    a row counts as one document.
    """

    def __init__(
        self,
        config: CwmModelConfig,
        length: int,
        device: torch.device,
        devices: int,
        peak_flops: float | None = None,
    ) -> None:
        peak = peak_flops or known_peak(device)
        self._per_token = flops_per_token(config, length) if peak else 0.0
        self._peak = peak * devices if peak else None

    def metrics(self, tokens_per_s: float) -> dict[str, float]:
        """Return ``mfu``, a share of 1, or nothing."""
        return {"mfu": tokens_per_s * self._per_token / self._peak} if self._peak else {}


def known_peak(device: torch.device) -> float | None:
    """Return the dense bf16 FLOP/s of a device by its name, `None` if it is not listed."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).lower().replace(" ", "")
    return next((gpu.bf16 for kind, gpu in GPUS.items() if kind in name), None)
