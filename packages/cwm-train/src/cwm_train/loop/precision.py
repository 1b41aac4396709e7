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


def wants_bf16(precision: str, device: torch.device) -> bool:
    """Whether ``auto``, ``fp32`` or ``bf16`` means bf16 on a device."""
    return precision == "bf16" or (precision == "auto" and has_fast_bf16(device))


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """Return the context in which matrix products are computed in bf16, if so wanted."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)
