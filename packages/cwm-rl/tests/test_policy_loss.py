"""The policy losses against values and gradients computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from cwm_core.plugins import registry
from cwm_rl.algorithm import loss as losses
from cwm_rl.algorithm.tokens import PolicyLoss, TokenBatch, Totals

RATIOS = [1.0, 1.1, 1.5, 1.5, 0.5, 0.5]
ADVANTAGES = [2.0, -1.0, 1.0, -1.0, 1.0, -1.0]
EPISODES = [0, 0, 0, 0, 1, 1]
TOTALS = Totals(tokens=6, episodes=2)


def batch(**changes: Any) -> TokenBatch:
    found = TokenBatch(
        logprobs_n=torch.tensor([math.log(r) - 1 for r in RATIOS], dtype=torch.float64),
        old_logprobs_n=torch.full((6,), -1.0, dtype=torch.float64),
        advantages_n=torch.tensor(ADVANTAGES, dtype=torch.float64),
        episode_n=torch.tensor(EPISODES),
    )
    found.logprobs_n.requires_grad_()
    return replace(found, **changes)


def loss_of(
    function: Callable[..., PolicyLoss], given: TokenBatch | None = None, **constants: Any
) -> tuple[float, list[float], PolicyLoss]:
    given = given or batch()
    result = function(given, TOTALS, **constants)
    (gradient_n,) = torch.autograd.grad(result.loss, given.logprobs_n)
    return result.loss.item(), gradient_n.tolist(), result


def test_cwm_by_hand() -> None:
    value, gradient, result = loss_of(losses.cwm_loss)
    # rho*A: 2, -1.1, 1.5, -1.5, 0.5, -0.5; clipped to [0.8, 1.25]: 2, -1.1, 1.25, -1.25, 0.8, -0.8
    assert value == pytest.approx(-(2.0 - 1.1 + 1.25 - 1.5 + 0.5 - 0.8) / 131072)
    # d(rho A)/d log pi = rho A where the clip does not hold, else 0
    slopes = [2.0, -1.1, 0.0, -1.5, 0.5, 0.0]
    assert [g * -131072 for g in gradient] == pytest.approx(slopes)
    assert result.sums["clipped_high"] == result.sums["clipped_low"] == 1
    assert result.sums["log_ratio"].item() == pytest.approx(sum(map(math.log, RATIOS)))


def test_grpo_by_hand() -> None:
    value, gradient, _ = loss_of(losses.grpo_loss)
    # upper bound 1.2; mean of each episode, then of the two
    first, second = (2.0 - 1.1 + 1.2 - 1.5) / 4, (0.5 - 0.8) / 2
    assert value == pytest.approx(-(first + second) / 2)
    assert gradient == pytest.approx([-2 / 8, 1.1 / 8, 0, 1.5 / 8, -0.5 / 4, 0])


def test_the_kl_term_of_grpo_by_hand() -> None:
    reference_n = torch.tensor([math.log(r) - 1 + math.log(2) for r in RATIOS], dtype=torch.float64)
    given = batch(reference_logprobs_n=reference_n)
    with_kl, slopes, result = loss_of(losses.grpo_loss, given, kl=0.1)
    without, plain, _ = loss_of(losses.grpo_loss)
    k3 = 2 - math.log(2) - 1  # r = 2 at every token
    assert with_kl - without == pytest.approx(0.1 * k3)
    assert result.sums["kl"].item() == pytest.approx(6 * k3)
    # dK/d log pi = 1 - r = -1, over 2 episodes of 4 and 2 tokens
    added = [a - b for a, b in zip(slopes, plain)]
    assert added == pytest.approx([-0.1 / 8] * 4 + [-0.1 / 4] * 2)


def test_a_kl_term_without_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="reference_logprobs_n"):
        losses.grpo_loss(batch(), TOTALS, kl=0.1)


def test_dr_grpo_by_hand() -> None:
    value, gradient, _ = loss_of(losses.dr_grpo_loss, max_tokens=10)
    assert value == pytest.approx(-(2.0 - 1.1 + 1.2 - 1.5 + 0.5 - 0.8) / 20)
    assert gradient == pytest.approx([-2 / 20, 1.1 / 20, 0, 1.5 / 20, -0.5 / 20, 0])


def test_dapo_by_hand() -> None:
    value, gradient, _ = loss_of(losses.dapo_loss)
    assert value == pytest.approx(-(2.0 - 1.1 + 1.28 - 1.5 + 0.5 - 0.8) / 6)
    assert gradient == pytest.approx([-2 / 6, 1.1 / 6, 0, 1.5 / 6, -0.5 / 6, 0])


def test_cispo_by_hand() -> None:
    value, gradient, result = loss_of(losses.cispo_loss, max_ratio=1.2)
    weights = [1.0, 1.1, 1.2, 1.2, 0.5, 0.5]
    terms = [w * a * (math.log(r) - 1) for w, a, r in zip(weights, ADVANTAGES, RATIOS)]
    assert value == pytest.approx(-sum(terms) / 6)
    assert gradient == pytest.approx([-w * a / 6 for w, a in zip(weights, ADVANTAGES)])
    assert (result.sums["clipped_high"], result.sums["clipped_low"]) == (2, 0)


def test_gspo_by_hand() -> None:
    advantages_n = torch.tensor([1.0] * 4 + [-1.0] * 2, dtype=torch.float64)
    given = batch(advantages_n=advantages_n)
    first, second = (1.1 * 1.5 * 1.5) ** 0.25, 0.5  # geometric means of the ratios
    value, gradient, _ = loss_of(losses.gspo_loss, given, clip_low=0.6, clip_high=0.6)
    assert value == pytest.approx(-(first - second) / 2)
    assert gradient == pytest.approx([-first / 8] * 4 + [second / 4] * 2)
    value, gradient, result = loss_of(losses.gspo_loss, given)
    assert value == pytest.approx(-(1.0004 - 0.9997) / 2)
    assert gradient == [0.0] * 6
    assert (result.sums["clipped_high"], result.sums["clipped_low"]) == (4, 2)


def test_reinforce_by_hand() -> None:
    value, gradient, _ = loss_of(losses.reinforce_loss)
    assert value == pytest.approx(
        -sum(a * (math.log(r) - 1) for a, r in zip(ADVANTAGES, RATIOS)) / 2
    )
    assert gradient == pytest.approx([-a / 2 for a in ADVANTAGES])


def test_truncated_importance_by_hand() -> None:
    trainer_n, engine_n = torch.tensor([-1.0, -1.0, -3.0]), torch.tensor([-1.0, -3.0, -1.0])
    trainer_n.requires_grad_()
    weights_n = losses.truncated_importance(trainer_n, engine_n, cap=2.0)
    assert weights_n.tolist() == pytest.approx([1.0, 2.0, math.exp(-2)])
    assert not weights_n.requires_grad


FUNCTIONS = [
    losses.cwm_loss,
    losses.grpo_loss,
    losses.dr_grpo_loss,
    losses.dapo_loss,
    losses.cispo_loss,
    losses.gspo_loss,
    losses.reinforce_loss,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_parts_add_up_to_the_whole(function: Callable[..., PolicyLoss]) -> None:
    whole = batch()
    total = 0.0
    for first, last in ((0, 4), (4, 6)):
        part = TokenBatch(
            whole.logprobs_n[first:last],
            whole.old_logprobs_n[first:last],
            whole.advantages_n[first:last],
            whole.episode_n[first:last] - whole.episode_n[first],
        )
        total += function(part, TOTALS).loss.item()
    assert total == pytest.approx(function(whole, TOTALS).loss.item())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_constant_weights_scale_the_gradient(function: Callable[..., PolicyLoss]) -> None:
    weights_n = torch.full((6,), 0.5, dtype=torch.float64)
    halved, slopes, _ = loss_of(function, batch(weights_n=weights_n))
    value, whole, _ = loss_of(function)
    assert halved == pytest.approx(value / 2)
    assert slopes == pytest.approx([g / 2 for g in whole])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_trained_is_a_zero_loss(function: Callable[..., PolicyLoss]) -> None:
    nothing = torch.zeros(0, requires_grad=True)
    empty = TokenBatch(nothing, nothing.detach(), nothing.detach(), nothing.detach().long())
    assert function(empty, Totals(0, 0)).loss.item() == 0


@pytest.mark.parametrize("name", ["cwm", "grpo", "dr_grpo", "dapo", "cispo", "gspo", "reinforce"])
def test_components_are_the_functions(name: str) -> None:
    objective = registry().make("policy_losses", name).build()
    function = getattr(losses, f"{name}_loss")
    assert objective(batch(), TOTALS).loss.item() == function(batch(), TOTALS).loss.item()
    assert not objective.needs_reference


def test_options_of_a_component_reach_the_function() -> None:
    objective = registry().make("policy_losses", "cwm", divisor=2.0, clip_high=9.0).build()
    expected = -(2.0 - 1.1 + 1.5 - 1.5 + 0.5 - 0.8) / 2
    assert objective(batch(), TOTALS).loss.item() == pytest.approx(expected)
    assert registry().make("policy_losses", "grpo", kl=0.1).build().needs_reference
