"""MFU from tokens per second."""

from __future__ import annotations

import pytest
import torch

from cwm_train.loop.utilization import Utilization, known_peak
from cwm_train.model.config import Cwm32b, CwmTiny


def test_mfu_of_the_large_model_is_that_of_the_formula():
    """6 FLOPs per weight of a product, 12 per query width and visible key, in 64 layers."""
    weights = 32_581_097_472 - 128256 * 6144 - (2 * 64 + 1) * 6144
    attention = 12 * 64 * 48 * 128 * (8192 + 1) / 2
    utilization = Utilization(Cwm32b(), 8192, torch.device("cpu"), 512, peak_flops=989e12)
    found = utilization.metrics(1e6)["mfu"]
    assert found == pytest.approx(1e6 * (6 * weights + attention) / (512 * 989e12))


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA GeForce RTX 4090", 165e12), ("Tesla T4", None)],
)
def test_common_devices_are_known_by_name(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert known_peak(torch.device("cuda")) == peak


def test_nothing_is_said_where_the_peak_is_not_known():
    assert Utilization(CwmTiny(), 128, torch.device("cpu"), 1).metrics(1e3) == {}
