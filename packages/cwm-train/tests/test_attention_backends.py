"""Every attention backend against the slow reference, forward and gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import flex_attention as torch_flex

from cwm_core.errors import ConfigError
from cwm_train.attention import flex
from cwm_train.attention.base import Attention, Layout
from cwm_train.attention.config import Chunked, Flex, Reference, Sdpa

BACKENDS = [Sdpa(), Chunked(), Flex(compile=False, block_size=16)]
DOCUMENTS = {
    "whole-rows": None,
    "packed": [[150, 1, 30, 19], [64, 64, 72, 0]],
    "equal": [[100, 100], [100, 100]],
    "padded": [[100, 60, -40], [200]],
}


def layout_of(lengths: list[list[int]] | None) -> Layout:
    """Two rows of 200 tokens; a negative length is padding."""
    if lengths is None:
        return Layout.of_sequence(torch.arange(200).expand(2, -1), None)
    positions = [torch.cat([torch.arange(abs(n)) for n in row]) for row in lengths]
    numbered = [[(i if n > 0 else -1, abs(n)) for i, n in enumerate(row)] for row in lengths]
    documents = [torch.cat([torch.full((n,), i) for i, n in row]) for row in numbered]
    return Layout.of_sequence(torch.stack(positions), torch.stack(documents))


def attended(
    backend: Attention,
    layout: Layout,
    window: int | None,
    groups: int,
    dtype: torch.dtype = torch.float32,
) -> list[torch.Tensor]:
    """Return the output and the gradients of query, key and value."""
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(2, 200, heads, 8, generator=generator).to(dtype).transpose(1, 2)
        for heads in (4, 4 // groups, 4 // groups)
    ]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    out = backend(*tensors, backend.plan(layout, window))
    weight = torch.randn(out.shape, generator=generator)
    return [out, *torch.autograd.grad((out * weight).sum(), tensors)]


@pytest.fixture
def flex_trains_on_cpus(monkeypatch):
    """torch has the backward pass of unfused FlexAttention, but refuses it on CPUs."""
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *tensors: None)
    monkeypatch.setattr(flex, "refuse_training_on_cpu", lambda query: None)


@pytest.mark.usefixtures("flex_trains_on_cpus")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", [None, 1, 10, 90, 500])
@pytest.mark.parametrize("documents", DOCUMENTS)
@pytest.mark.parametrize("config", BACKENDS, ids=lambda c: type(c).__name__)
def test_backend_equals_reference(config, documents, window, groups):
    layout = layout_of(DOCUMENTS[documents])
    wanted = attended(Reference().build(), layout, window, groups)
    for mine, truth in zip(attended(config.build(), layout, window, groups), wanted):
        assert torch.allclose(mine, truth, atol=1e-5)


@pytest.mark.usefixtures("flex_trains_on_cpus")
@pytest.mark.parametrize("window", [None, 10])
@pytest.mark.parametrize("config", BACKENDS, ids=lambda c: type(c).__name__)
def test_in_bf16_a_backend_is_as_near_as_bf16_allows(config, window):
    layout = layout_of(DOCUMENTS["packed"])
    truth = attended(Reference().build(), layout, window, 2)
    for mine, exact in zip(attended(config.build(), layout, window, 2, torch.bfloat16), truth):
        assert mine.dtype == torch.bfloat16
        assert (mine.float() - exact).abs().max() < 0.03 * exact.abs().max()


def test_flex_says_that_it_cannot_train_on_a_cpu():
    with pytest.raises(ConfigError, match="CPU") as caught:
        attended(Flex(compile=False).build(), layout_of(None), None, 1)
    assert "attention=chunked" in caught.value.hint


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("config", BACKENDS, ids=lambda c: type(c).__name__)
def test_cached_layout_equals_reference(config, window):
    layout = Layout.of_cache(torch.tensor([[7], [3]]), 9)
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 1, 8, generator=generator)
    k, v = (torch.randn(2, 2, 9, 8, generator=generator) for _ in range(2))
    results = []
    for backend in (config.build(), Reference().build()):
        with torch.no_grad():
            results.append(backend(q, k, v, backend.plan(layout, window)))
    assert torch.allclose(*results, atol=1e-5)


def test_long_documents_leave_the_blocked_path():
    layout = Layout.of_sequence(torch.arange(2100)[None], None)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, 2100, 8, generator=generator).requires_grad_() for _ in range(3))
    outputs = [b(q, k, v, b.plan(layout, 300)) for b in (Chunked().build(), Reference().build())]
    assert torch.allclose(*outputs, atol=1e-5)
