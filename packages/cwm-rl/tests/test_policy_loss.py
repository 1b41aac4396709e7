"""The policy loss against values and gradients computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from cwm_rl.algorithm.loss import clipped_policy_loss

LOG = [math.log(ratio) for ratio in (1.0, 1.1, 1.5, 1.5, 0.5, 0.5)]
ADVANTAGES = [2.0, -1.0, 1.0, -1.0, 1.0, -1.0]


def loss_of(mask: list[bool], **constants: float) -> tuple[torch.Tensor, torch.Tensor, object]:
    old_n = torch.zeros(6, dtype=torch.float64)
    new_n = torch.tensor(LOG, dtype=torch.float64, requires_grad=True)
    advantages_n = torch.tensor(ADVANTAGES, dtype=torch.float64)
    result = clipped_policy_loss(new_n, old_n, advantages_n, torch.tensor(mask), **constants)
    (gradient_n,) = torch.autograd.grad(result.loss, new_n)
    return result.loss, gradient_n, result


def test_value_and_gradient_by_hand() -> None:
    loss, gradient_n, result = loss_of([True] * 6)
    # rho*A: 2, -1.1, 1.5, -1.5, 0.5, -0.5; clipped to [0.8, 1.25]: 2, -1.1, 1.25, -1.25, 0.8, -0.8
    gains = [2.0, -1.1, 1.25, -1.5, 0.5, -0.8]
    assert loss.item() == pytest.approx(-sum(gains) / 131072)
    # d(rho A)/d log pi = rho A where the clip does not hold, else 0
    slopes = [2.0, -1.1, 0.0, -1.5, 0.5, 0.0]
    assert (gradient_n * -131072).tolist() == pytest.approx(slopes)
    assert result.clipped_high.item() == pytest.approx(1 / 6)
    assert result.clipped_low.item() == pytest.approx(1 / 6)
    assert result.log_ratio.item() == pytest.approx(sum(LOG) / 6)


def test_the_divisor_is_constant() -> None:
    whole, _, _ = loss_of([True] * 6)
    first, _, _ = loss_of([True] * 3 + [False] * 3)
    second, _, _ = loss_of([False] * 3 + [True] * 3)
    assert whole.item() == pytest.approx(first.item() + second.item())
    half, _, _ = loss_of([True] * 6, divisor=2 * 131072)
    assert half.item() == pytest.approx(whole.item() / 2)


def test_environment_tokens_take_no_part_even_as_nan() -> None:
    nan = float("nan")
    new_n = torch.tensor([0.1, nan], requires_grad=True)
    old_n = torch.tensor([0.0, nan])
    advantages_n = torch.tensor([1.0, nan])
    result = clipped_policy_loss(new_n, old_n, advantages_n, torch.tensor([True, False]), divisor=1)
    result.loss.backward()
    assert result.loss.item() == pytest.approx(-math.exp(0.1))
    assert new_n.grad is not None
    assert new_n.grad.tolist() == pytest.approx([-math.exp(0.1), 0.0])
    assert result.log_ratio.item() == pytest.approx(0.1)


def test_nothing_trained_is_a_zero_loss() -> None:
    loss, gradient_n, _ = loss_of([False] * 6)
    assert loss.item() == 0
    assert gradient_n.abs().sum().item() == 0


def test_any_arrangement_gives_the_same_loss() -> None:
    flat, _, _ = loss_of([True] * 6)
    shape = (2, 3)
    result = clipped_policy_loss(
        torch.tensor(LOG, dtype=torch.float64).reshape(shape),
        torch.zeros(shape, dtype=torch.float64),
        torch.tensor(ADVANTAGES, dtype=torch.float64).reshape(shape),
        torch.ones(shape, dtype=torch.bool),
    )
    assert result.loss.item() == pytest.approx(flat.item())


def test_clip_bounds_can_be_moved() -> None:
    loss, _, result = loss_of([True] * 6, clip_low=0.6, clip_high=0.6, divisor=1)
    assert loss.item() == pytest.approx(-(2 - 1.1 + 1.5 - 1.5 + 0.5 - 0.5))
    assert result.clipped_high.item() == result.clipped_low.item() == 0
