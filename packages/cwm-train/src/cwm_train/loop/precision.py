"""Which precision this machine computes fast."""

from __future__ import annotations

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products are quicker than fp32 (GPU, AMX or AVX-512 BF16).

    On other CPUs they are emulated, up to a hundred times slower.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def mixed_precision(precision: str, device: torch.device) -> str:
    """Return accelerate's name for ``auto``, ``fp32`` or ``bf16`` on a device."""
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "fp32"
    return "bf16" if precision == "bf16" else "no"
