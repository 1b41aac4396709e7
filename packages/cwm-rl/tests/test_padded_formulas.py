"""The losses against TRL's formulas (GRPOTrainer), written anew over padded tensors.

Shapes: E episodes, T padded tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cwm_rl.algorithm import loss as losses
from cwm_rl.algorithm.tokens import PolicyLoss, TokenBatch, Totals

LENGTHS = torch.tensor([9, 4, 7, 1, 6])
EPISODES, LONGEST, MOST = 5, 9, 16
_DRAW = torch.Generator().manual_seed(0)
MASK_ET = (torch.arange(LONGEST)[None] < LENGTHS[:, None]).double()
KEPT_ET = MASK_ET.bool()
LOGPROBS_ET = -3 * torch.rand(EPISODES, LONGEST, dtype=torch.double, generator=_DRAW)
NOISE_ET = torch.randn(2, EPISODES, LONGEST, dtype=torch.double, generator=_DRAW)
OLD_ET, REFERENCE_ET = LOGPROBS_ET + 0.4 * NOISE_ET[0], LOGPROBS_ET + 0.3 * NOISE_ET[1]
ADVANTAGES_E = torch.randn(EPISODES, dtype=torch.double, generator=_DRAW)


def per_token(
    logprobs_et: Tensor, low: float, high: float, *, beta: float = 0, whole: bool = False
) -> Tensor:
    log_ratio_et = logprobs_et - OLD_ET
    if whole:
        log_ratio_et = ((log_ratio_et * MASK_ET).sum(-1) / MASK_ET.sum(-1))[:, None]
    ratio_et, advantages_e1 = log_ratio_et.exp(), ADVANTAGES_E[:, None]
    clipped_et = ratio_et.clamp(1 - low, 1 + high)
    found_et = -torch.min(ratio_et * advantages_e1, clipped_et * advantages_e1)
    kl_et = (REFERENCE_ET - logprobs_et).exp() - (REFERENCE_ET - logprobs_et) - 1
    return (found_et + beta * kl_et).expand(EPISODES, LONGEST)


def of_episodes(found_et: Tensor) -> Tensor:
    return ((found_et * MASK_ET).sum(-1) / MASK_ET.sum(-1)).mean()


def cispo(logprobs_et: Tensor) -> Tensor:
    ratio_et = (logprobs_et - OLD_ET).exp().clamp(max=1.3).detach()
    return -(ratio_et * ADVANTAGES_E[:, None] * logprobs_et * MASK_ET).sum() / MASK_ET.sum()


CASES: dict[str, tuple[Callable[..., PolicyLoss], dict[str, float], Callable[[Tensor], Tensor]]] = {
    "grpo": (losses.grpo_loss, {}, lambda x: of_episodes(per_token(x, 0.2, 0.2))),
    "grpo with kl": (
        losses.grpo_loss,
        {"kl": 0.04},
        lambda x: of_episodes(per_token(x, 0.2, 0.2, beta=0.04)),
    ),
    "dr_grpo": (
        losses.dr_grpo_loss,
        {"max_tokens": MOST},
        lambda x: (per_token(x, 0.2, 0.2) * MASK_ET).sum() / (EPISODES * MOST),
    ),
    "dapo": (
        losses.dapo_loss,
        {},
        lambda x: (per_token(x, 0.2, 0.28) * MASK_ET).sum() / MASK_ET.sum(),
    ),
    "cispo": (losses.cispo_loss, {"max_ratio": 1.3}, cispo),
    "gspo": (
        losses.gspo_loss,
        {},
        lambda x: of_episodes(per_token(x, 3e-4, 4e-4, whole=True)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_equal_the_padded_formulas(name: str) -> None:
    function, constants, formula = CASES[name]
    logprobs_et = LOGPROBS_ET.clone().requires_grad_()
    episode_et = torch.arange(EPISODES)[:, None].expand(EPISODES, LONGEST)
    batch = TokenBatch(
        logprobs_et[KEPT_ET],
        OLD_ET[KEPT_ET],
        ADVANTAGES_E[:, None].expand(EPISODES, LONGEST)[KEPT_ET],
        episode_et[KEPT_ET],
        reference_logprobs_n=REFERENCE_ET[KEPT_ET],
    )
    found = function(batch, Totals(int(MASK_ET.sum()), EPISODES), **constants).loss
    wanted = formula(logprobs_et)
    (gradient_et,) = torch.autograd.grad(found, logprobs_et)
    (wanted_et,) = torch.autograd.grad(wanted, logprobs_et)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    torch.testing.assert_close(gradient_et, wanted_et, rtol=1e-10, atol=1e-14)
    assert gradient_et.abs().max() > 0
