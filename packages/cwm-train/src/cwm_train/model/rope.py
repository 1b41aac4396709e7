"""Rotary position embedding (arXiv 2104.09864), half-split, with Llama 3.1's frequency scaling.

Shapes: B batch, T tokens, H heads, D head width, E = D/2 frequencies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cwm_train.model.config import RopeParameters


def inverse_frequencies(head_dim: int, rope: RopeParameters) -> Tensor:
    """Return the angular frequency of each pair, fp32, shape (E,).

    ``llama3`` keeps short wavelengths, divides long ones by `factor` and interpolates between
    (Llama 3.1; the formula of Hugging Face's `_compute_llama3_parameters`).
    """
    exponents_e = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    frequencies_e = 1.0 / (rope.rope_theta**exponents_e)
    if rope.rope_type == "default":
        return frequencies_e
    length = rope.original_max_position_embeddings
    wavelengths_e = 2 * math.pi / frequencies_e
    smooth_e = (length / wavelengths_e - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    between_e = (1 - smooth_e) * frequencies_e / rope.factor + smooth_e * frequencies_e
    scaled_e = torch.where(
        wavelengths_e > length / rope.low_freq_factor, frequencies_e / rope.factor, between_e
    )
    return torch.where(wavelengths_e < length / rope.high_freq_factor, frequencies_e, scaled_e)


def rotation(positions_bt: Tensor, frequencies_e: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of every angle, fp32, shape (B, T, 1, E)."""
    angles_bt1e = positions_bt[..., None, None].float() * frequencies_e
    return angles_bt1e.cos(), angles_bt1e.sin()


def rotate(x_bthd: Tensor, cos_bt1e: Tensor, sin_bt1e: Tensor) -> Tensor:
    """Rotate every head by its position; the result has the dtype of `x_bthd`."""
    first, second = x_bthd.chunk(2, -1)
    rotated = torch.cat(
        (first * cos_bt1e - second * sin_bt1e, second * cos_bt1e + first * sin_bt1e), -1
    )
    return rotated.to(x_bthd.dtype)
