"""Every attention backend against the slow reference, forward and gradient."""

from __future__ import annotations

import pytest
import torch

from cwm_train.attention.base import Attention, Layout
from cwm_train.attention.config import Chunked, Flex, Reference, Sdpa

BACKENDS = [Sdpa(), Chunked(), Flex(compile=False, block_size=16)]
DOCUMENTS = {
    "whole-rows": None,
    "packed": [[150, 1, 30, 19], [64, 64, 72, 0]],
    "equal": [[100, 100], [100, 100]],
}


def layout_of(lengths: list[list[int]] | None) -> Layout:
    if lengths is None:
        return Layout.of_sequence(torch.arange(200).expand(2, -1), None)
    positions = [torch.cat([torch.arange(n) for n in row]) for row in lengths]
    documents = [torch.cat([torch.full((n,), i) for i, n in enumerate(row)]) for row in lengths]
    return Layout.of_sequence(torch.stack(positions), torch.stack(documents))


def attended(backend: Attention, layout: Layout, window: int | None, groups: int):
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(2, 200, heads, 8, generator=generator).transpose(1, 2).requires_grad_()
        for heads in (4, 4 // groups, 4 // groups)
    ]
    out = backend(*tensors, backend.plan(layout, window))
    weight = torch.randn(out.shape, generator=generator)
    return [out, *torch.autograd.grad((out * weight).sum(), tensors)]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", [None, 1, 10, 90, 500])
@pytest.mark.parametrize("documents", DOCUMENTS)
@pytest.mark.parametrize("config", BACKENDS, ids=lambda c: type(c).__name__)
def test_backend_equals_reference(config, documents, window, groups):
    layout = layout_of(DOCUMENTS[documents])
    wanted = attended(Reference().build(), layout, window, groups)
    if isinstance(config, Flex):
        with torch.no_grad():  # FlexAttention has no backward pass on CPUs
            backend = config.build()
            found = flex_forward(backend, layout, window, groups)
        assert torch.allclose(found, wanted[0], atol=1e-5)
        return
    for mine, truth in zip(attended(config.build(), layout, window, groups), wanted):
        assert torch.allclose(mine, truth, atol=1e-5)


def flex_forward(backend: Attention, layout: Layout, window: int | None, groups: int):
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(2, 200, heads, 8, generator=generator).transpose(1, 2)
        for heads in (4, 4 // groups, 4 // groups)
    ]
    return backend(*tensors, backend.plan(layout, window))


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
