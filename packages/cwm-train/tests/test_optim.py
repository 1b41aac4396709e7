"""Optimizers and schedules."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from cwm_train.model.config import CwmTiny
from cwm_train.optim.config import AdamW, Muon, Soap
from cwm_train.optim.muon import orthogonalise
from cwm_train.optim.schedules import Cosine, Linear, Wsd


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 12), (2, 12, 5)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape), 5))
    assert values.min() > 0.5 and values.max() < 1.5


def test_muon_step_is_that_of_torch():
    """torch.optim.Muon works in bf16, hence the tolerance."""
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.ones(6, 4)) for _ in range(2))
    mine = Muon(lr=0.1, weight_decay=0.1).build([("layers.0.mlp.up_proj.weight", ours)])
    other = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        grad = torch.randn(6, 4)
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        mine.step()
        other.step()
    assert torch.allclose(ours, theirs, atol=0.02)


OPTIMIZERS = [AdamW(lr=0.01), Muon(), Soap(lr=0.01, gather_every=2, turn_every=3)]


@pytest.mark.parametrize("config", OPTIMIZERS, ids=lambda c: type(c).__name__)
def test_optimizers_minimise_and_restore(config):
    torch.manual_seed(0)
    shape = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "head_dim": 8}
    model = CwmTiny(**shape, num_hidden_layers=1, init="fan_in").build()
    ids_bt = torch.randint(0, 32, (2, 20))
    optimizer = config.build(model.named_parameters())

    def train(steps: int) -> float:
        for _ in range(steps):
            loss = model(ids_bt, labels_bt=ids_bt.roll(-1, 1)) / 40
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.detach())

    first = train(1)
    assert train(30) < 0.5 * first
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    state = optimizer.state_dict()
    saved = torch.load(_through_disk(state), weights_only=True)
    wanted = train(3)
    model.load_state_dict(weights)
    optimizer = config.build(model.named_parameters())
    optimizer.load_state_dict(saved)
    assert train(3) == wanted


def _through_disk(state):
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return buffer


def soap_by_the_book(grads, weight, lr, betas, eps, decay):
    """SOAP with its momentum in the weight's own basis, and the eigenbasis of the first step."""
    mean, square, bases = 0.0, torch.zeros_like(weight), None
    for step, grad in enumerate(grads, start=1):
        if bases is None:
            bases = [torch.linalg.eigh(x @ x.T)[1].flip(1) for x in (grad, grad.T)]
        turned = bases[0].T @ grad @ bases[1]
        mean = betas[0] * mean + (1 - betas[0]) * grad
        square = betas[1] * square + (1 - betas[1]) * turned.square()
        top = bases[0].T @ mean @ bases[1] / (1 - betas[0] ** step)
        update = top / ((square / (1 - betas[1] ** step)).sqrt() + eps)
        weight = (1 - lr * decay) * weight - lr * bases[0] @ update @ bases[1].T
    return weight


def test_soap_step_is_that_of_the_paper():
    torch.manual_seed(0)
    start, grads = torch.randn(6, 4), [torch.randn(6, 4) for _ in range(5)]
    weight = torch.nn.Parameter(start.clone())
    config = Soap(lr=0.1, eps=0.01, turn_every=100)
    optimizer = config.build([("layers.0.mlp.up_proj.weight", weight)])
    for grad in grads:
        weight.grad = grad.clone()
        optimizer.step()
    wanted = soap_by_the_book(grads, start, 0.1, (config.beta1, config.beta2), 0.01, 0.1)
    assert torch.allclose(weight, wanted, atol=1e-4)


def test_soap_finds_the_eigenbasis_and_keeps_the_momentum():
    """Eigenvectors of a fixed covariance are found, however often the basis turns."""
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(5, 5))[0]
    weight = torch.nn.Parameter(torch.zeros(5, 7))
    optimizer = Soap(lr=1e-9, beta1=0.99, turn_every=2, gather_beta=0.99).build(
        [("layers.0.mlp.up_proj.weight", weight)]
    )
    mean = torch.zeros(5, 7)
    for _ in range(300):
        weight.grad = axes @ (torch.tensor([16.0, 8, 4, 2, 1])[:, None] * torch.randn(5, 7))
        mean = 0.99 * mean + 0.01 * weight.grad
        optimizer.step()
    state = optimizer.state[weight]
    assert torch.allclose((axes.T @ state["left"]).abs(), torch.eye(5), atol=0.2)
    assert torch.allclose(state["left"] @ state["exp_avg"] @ state["right"].T, mean, atol=1e-3)


def test_soap_leaves_long_sides_alone():
    weight = torch.nn.Parameter(torch.randn(6, 4))
    wide = torch.nn.Parameter(torch.randn(6, 6))
    optimizer = Soap(max_side=4).build([("up_proj.weight", weight), ("o_proj.weight", wide)])
    weight.grad, wide.grad = torch.randn(6, 4), torch.randn(6, 6)
    optimizer.step()
    assert "right" in optimizer.state[weight] and "left" not in optimizer.state[weight]
    assert "right" not in optimizer.state[wide]


def test_embeddings_and_norms_are_not_decayed():
    model = CwmTiny(vocab_size=32).build()
    optimizer = AdamW(weight_decay=0.5).build(model.named_parameters())
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    names = {name for name, p in model.named_parameters() if id(p) in decayed}
    assert names
    assert all("proj" in name for name in names)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))


@pytest.mark.parametrize("schedule", [Cosine(floor=0.1), Linear(floor=0.1), Wsd(floor=0.1)])
def test_schedules_warm_up_and_end_at_the_floor(schedule):
    factor = schedule.build()
    values = [factor(x / 1000) for x in range(1001)]
    assert 0 < values[0] < 0.01
    assert max(values) == pytest.approx(1.0, abs=1e-3)
    assert values[-1] == pytest.approx(0.1)
    peak = values.index(max(values))
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)


def test_stable_part_and_overfull_budget_of_wsd():
    factor = Wsd(warmup=0.1, decay=0.5).build()
    assert [factor(x) for x in (0.1, 0.3, 0.5)] == [1.0, 1.0, 1.0]
    assert factor(0.75) == pytest.approx(0.5)
    with pytest.raises(ValidationError, match="exceed"):
        Wsd(warmup=0.6, decay=0.6)
