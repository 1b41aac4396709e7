"""Activation checkpointing: the same numbers from less memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from cwm_train.attention.config import Chunked, Reference, Sdpa
from cwm_train.model.config import CwmModelConfig, RopeParameters
from cwm_train.model.recompute import apply_activation_checkpointing
from cwm_train.model.transformer import CwmForCausalLM

CONFIG = CwmModelConfig(
    vocab_size=61,
    hidden_size=32,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    sliding_window=9,
    initializer_range=0.2,
    rope_parameters=RopeParameters(rope_type="default", rope_theta=1e4),
)
POSITIONS = torch.cat([torch.arange(n) for n in (25, 14, 1)])[None]
DOCUMENTS = torch.tensor([[0] * 25 + [1] * 14 + [2]])


def model_of(mode: str, backend: Any) -> CwmForCausalLM:
    torch.manual_seed(0)
    model = CONFIG.build(attention=backend.build())
    apply_activation_checkpointing(model, mode)
    return model


def loss_of(model: CwmForCausalLM) -> Tensor:
    ids = torch.randint(0, 61, (1, 40), generator=torch.Generator().manual_seed(1))
    return model(ids, POSITIONS, DOCUMENTS, labels_bt=ids.roll(-1, 1))


def kept_bytes(model: CwmForCausalLM) -> int:
    """Bytes that autograd keeps for the backward pass, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_of(model)
    assert loss.requires_grad
    return sum(kept.values())


class _Products(TorchDispatchMode):
    """Counts matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.mm.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "backend", [Reference(), Sdpa(), Chunked()], ids=lambda c: type(c).__name__
)
@pytest.mark.parametrize("mode", ["selective", "full"])
def test_losses_and_gradients_stay_the_same(mode, backend):
    plain, saving = model_of("none", backend), model_of(mode, backend)
    losses = [loss_of(model) for model in (plain, saving)]
    for loss in losses:
        loss.backward()
    assert torch.equal(*losses)
    for (name, mine), other in zip(saving.named_parameters(), plain.parameters()):
        assert torch.equal(mine.grad, other.grad), name


def test_full_keeps_little_more_than_the_inputs_of_layers():
    none, full = (kept_bytes(model_of(mode, Sdpa())) for mode in ("none", "full"))
    assert full < 0.5 * none


def test_selective_computes_only_the_wide_products_again():
    counts = {}
    for mode in ("none", "selective", "full"):
        loss = loss_of(model_of(mode, Sdpa()))
        with _Products() as products:
            loss.backward()
        counts[mode] = products.count
    layers = CONFIG.num_hidden_layers
    assert counts["selective"] == counts["none"] + 2 * layers
    assert counts["full"] >= counts["none"] + 6 * layers


def test_it_can_be_switched_off_and_is_no_part_of_the_weights():
    model = model_of("full", Sdpa())
    names = list(model.state_dict())
    apply_activation_checkpointing(model, "none")
    assert list(model.state_dict()) == names == list(CONFIG.build().state_dict())
    assert kept_bytes(model) == kept_bytes(model_of("none", Sdpa()))


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="some"):
        apply_activation_checkpointing(CONFIG.build(), "some")  # type: ignore[arg-type]
