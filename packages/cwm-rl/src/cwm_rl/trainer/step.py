"""One optimizer step: log-probabilities, loss, gradient, and what they look like."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.func import functional_call

from cwm_rl.algorithm.loss import truncated_importance
from cwm_rl.algorithm.tokens import PolicyObjective, TokenBatch, Totals
from cwm_rl.trainer.batch import Part
from cwm_rl.trainer.head import token_logprobs
from cwm_train.loop.precision import autocast
from cwm_train.model.invariant import batch_invariant
from cwm_train.model.transformer import CwmForCausalLM

Mismatch = Literal["none", "truncated"]


class Learner:
    """Adds up the gradient of a policy loss over the parts of a batch.

    `gradient_parts` is the number of processes whose gradients are averaged (FSDP): the loss is
    scaled so that their sum counts. With `invariant`, log-probabilities do not depend on how
    episodes are packed, nor the engine's, if it is told likewise, on its batch.
    """

    def __init__(
        self,
        model: CwmForCausalLM,
        objective: PolicyObjective,
        *,
        mismatch: Mismatch = "none",
        mismatch_cap: float = 2.0,
        bf16: bool = False,
        invariant: bool = False,
        gradient_parts: int = 1,
        reference: CwmForCausalLM | None = None,
    ) -> None:
        self.model, self._objective, self._reference = model, objective, reference
        self._mismatch, self._cap = mismatch, mismatch_cap
        self._bf16, self._gradient_parts = bf16, gradient_parts
        self._invariant = invariant
        for each in (model, reference):
            if each is not None:
                each.head_loss = token_logprobs

    def add_gradient(self, parts: Sequence[Part], totals: Totals) -> dict[str, float]:
        """Add the gradient of the step's loss; return sums over the trained tokens of `parts`."""
        sums: dict[str, float] = defaultdict(float)
        for number, part in enumerate(parts):
            if isinstance(self.model, FSDPModule):
                self.model.set_requires_all_reduce(number == len(parts) - 1)
            with batch_invariant(self._invariant):
                found, logprobs_n = self._add_part(part, totals)
            for name, value in {**found, **_differences(part, logprobs_n)}.items():
                sums[name] += float(value.detach())
            sums["largest_ratio"] = max(sums["largest_ratio"], _largest(part, logprobs_n))
        return dict(sums)

    def _add_part(self, part: Part, totals: Totals) -> tuple[dict[str, Tensor], Tensor]:
        """Add the gradient of a part; return what to sum up, and the log-probabilities."""
        logprobs_n, entropy_n = logprobs_of(self.model, part, self._bf16)
        result = self._objective(self._tokens(part, logprobs_n), totals)
        # a part without tokens takes part in the exchange of gradients all the same
        loss = result.loss + 0.0 * logprobs_n.sum()
        (loss * self._gradient_parts).backward()
        return {"loss": result.loss, "entropy": entropy_n.sum(), **result.sums}, logprobs_n

    def _tokens(self, part: Part, logprobs_n: Tensor) -> TokenBatch:
        old_n, weights_n = part.engine_logprobs_n, None
        if self._mismatch == "truncated":
            old_n = logprobs_n.detach()
            weights_n = truncated_importance(old_n, part.engine_logprobs_n, self._cap)
        reference_n = None
        if self._reference is not None:
            with torch.no_grad():
                reference_n = logprobs_of(self._reference, part, self._bf16)[0]
        return TokenBatch(
            logprobs_n, old_n, part.advantages_n, part.episode_n, weights_n, reference_n
        )


def logprobs_of(model: CwmForCausalLM, part: Part, bf16: bool = False) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies of the trained tokens, in their order.

    The model's `head_loss` must be `token_logprobs`. With `bf16` everything is computed from
    weights rounded to bf16, residual stream and norms included, since engines do so; autocast
    keeps these in fp32. The gradient arrives at the fp32 weights.
    """
    batch = part.batch
    inputs = (batch.ids_bt, batch.positions_bt, batch.document_bt)
    labels = {"labels_bt": batch.labels_bt}
    if bf16 and _is_plain(model):
        rounded = {name: weight.bfloat16() for name, weight in model.named_parameters()}
        found_2n = functional_call(model, rounded, inputs, labels)
    else:
        with autocast(batch.ids_bt.device, bf16):
            found_2n = model(*inputs, **labels)
    return found_2n[0], found_2n[1]


def _is_plain(model: CwmForCausalLM) -> bool:
    """Whether the model neither casts weights itself (FSDP) nor runs layers a second time."""
    layers: Any = model.model.layers
    return not isinstance(model, FSDPModule) and all(each.recompute is None for each in layers)


def frozen_copy(model: CwmForCausalLM) -> CwmForCausalLM:
    """Return a copy that is never trained."""
    twin: Any = copy.deepcopy(model)
    reference: CwmForCausalLM = twin.requires_grad_(False)
    return reference


@torch.no_grad()
def _differences(part: Part, logprobs_n: Tensor) -> dict[str, Tensor]:
    """Return sums of how the trainer's log-probabilities differ from the engine's.

    ``kl`` is the estimate r - 1 - log r with r = pi / pi_engine, which is never negative
    (Schulman 2020, "Approximating KL divergence", k3).
    """
    log_ratio_n = logprobs_n - part.engine_logprobs_n
    return {
        "engine_kl": (log_ratio_n.exp() - 1 - log_ratio_n).sum(),
        "engine_difference": log_ratio_n.abs().sum(),
    }


@torch.no_grad()
def _largest(part: Part, logprobs_n: Tensor) -> float:
    if not len(logprobs_n):
        return 0.0
    return float((logprobs_n - part.engine_logprobs_n).max().exp())
