"""The loss of the output head: its value, its gradient, and what it never keeps in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from cwm_train.model import loss as loss_module
from cwm_train.model.loss import head_cross_entropy, label_scores


def drawn(tokens: int, vocabulary: int, width: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens * 1000 + vocabulary)
    hidden = torch.randn(tokens, width, generator=generator, requires_grad=True)
    weight = torch.randn(vocabulary, width, generator=generator, requires_grad=True)
    return hidden, weight, torch.randint(0, vocabulary, (tokens,), generator=generator)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(2, 60), st.sampled_from([1, 2000, 10**6]))
def test_loss_and_gradients_are_those_of_the_whole_logits(tokens, vocabulary, chunk_bytes):
    hidden, weight, labels = drawn(tokens, vocabulary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_module, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(loss_module, "BLOCK_ELEMENTS", 16 * vocabulary)
        mine = head_cross_entropy(hidden, weight, labels)
    found = torch.autograd.grad(mine * 0.5, (hidden, weight))
    truth = functional.cross_entropy(hidden @ weight.T, labels, reduction="sum")
    wanted = torch.autograd.grad(truth * 0.5, (hidden, weight))
    torch.testing.assert_close(mine, truth)
    for gradient, other in zip(found, wanted):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5)


def test_under_autocast_the_weight_has_an_exact_fp32_gradient():
    hidden, weight, labels = drawn(200, 50)
    with torch.autocast("cpu", torch.bfloat16):
        head_cross_entropy(hidden, weight, labels).backward()
    assert hidden.grad is not None and weight.grad is not None
    logits = hidden.detach().bfloat16() @ weight.detach().bfloat16().T
    share = logits.float().softmax(-1)
    share[torch.arange(200), labels] -= 1
    wanted = share.T @ hidden.detach()
    assert weight.grad.dtype == torch.float32
    assert (weight.grad - wanted).abs().max() < 0.01 * wanted.abs().max()


def test_a_second_backward_is_refused():
    hidden, weight, labels = drawn(5, 7)
    total = head_cross_entropy(hidden, weight, labels)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        total.backward()


class _Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_whole_logits_never_exist(monkeypatch, precision):
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", 4 * 500 * 32)
    hidden, weight, labels = drawn(320, 500)
    with _Largest() as largest:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            total = head_cross_entropy(hidden, weight, labels)
        total.backward()
    assert largest.elements <= 500 * 32 < 320 * 500 / 9


def test_scores_are_those_of_the_whole_logits(monkeypatch):
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", 4 * 50 * 20)
    hidden, weight, labels = drawn(70, 50)
    label_logprobs, best, best_logprobs = label_scores(hidden, weight, labels)
    logprobs = (hidden @ weight.T).log_softmax(-1).detach()
    torch.testing.assert_close(label_logprobs, logprobs[torch.arange(70), labels])
    torch.testing.assert_close(best_logprobs, logprobs.max(-1).values)
    assert torch.equal(best, logprobs.argmax(-1))


def test_loss_without_labels_is_zero():
    hidden = torch.randn(0, 8, requires_grad=True)
    weight = torch.randn(5, 8, requires_grad=True)
    total = head_cross_entropy(hidden, weight, torch.zeros(0, dtype=torch.long))
    total.backward()
    assert float(total.detach()) == 0.0
    assert weight.grad is not None and not weight.grad.any()


@pytest.mark.parametrize("vocabulary", [50, 3000])
def test_z_loss_and_its_gradient_are_those_of_the_formula(vocabulary):
    torch.manual_seed(0)
    hidden = (3 * torch.randn(70, 8)).requires_grad_()
    weight = torch.randn(vocabulary, 8).requires_grad_()
    labels = torch.randint(0, vocabulary, (70,))
    logits = hidden @ weight.T
    plain = functional.cross_entropy(logits, labels, reduction="sum")
    wanted = plain + 0.01 * logits.logsumexp(-1).square().sum()
    mine = head_cross_entropy(hidden, weight, labels, z_loss=0.01)
    torch.testing.assert_close(mine, wanted)
    assert float((mine - plain).detach()) > 1
    gradients = torch.autograd.grad(mine, (hidden, weight))
    expected = torch.autograd.grad(wanted, (hidden, weight))
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-4)
