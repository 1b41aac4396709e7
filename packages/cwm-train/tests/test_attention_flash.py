"""The backend `flash`: what it tells the library, and what it says where there is none."""

from __future__ import annotations

import importlib.util
import sys
import types

import pytest
import torch
from torch import Tensor

from cwm_core.errors import ConfigError
from cwm_train.attention.base import Attention, Layout
from cwm_train.attention.config import Flash, Reference
from cwm_train.attention.flash import FlashAttention

DOCUMENTS = {
    "whole-rows": None,
    "packed": [[150, 1, 30, 19], [64, 64, 72, 0]],
    "padded": [[100, 60, -40], [200]],
}
HAS_FLASH = torch.cuda.is_available() and importlib.util.find_spec("flash_attn") is not None


def plain_varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """What flash-attn documents for `flash_attn_varlen_func`, document by document."""
    assert causal and dropout_p == 0 and softmax_scale is None
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert q.ndim == 3 and q.shape[0] == k.shape[0] == v.shape[0] == cu_seqlens_q[-1]
    outputs = []
    ends = zip(*(c.tolist() for c in (cu_seqlens_q[:-1], cu_seqlens_q[1:])))
    for start, end in ends:
        assert 0 < end - start <= max_seqlen_q == max_seqlen_k
        q_hte, k_hte, v_hte = (x[start:end].transpose(0, 1) for x in (q, k, v))
        k_hte, v_hte = (x.repeat_interleave(len(q_hte) // len(x), 0) for x in (k_hte, v_hte))
        gap = torch.arange(end - start)[:, None] - torch.arange(end - start)
        left, right = window_size
        hidden = (gap < 0) | ((gap > left) & (left >= 0)) | ((-gap > right) & (right >= 0))
        scores = (q_hte @ k_hte.mT * q.shape[-1] ** -0.5).masked_fill(hidden, -torch.inf)
        outputs.append((scores.softmax(-1) @ v_hte).transpose(0, 1))
    return torch.cat(outputs)


def layout_of(lengths: list[list[int]] | None) -> Layout:
    """Two rows of 200 tokens; a negative length is padding."""
    if lengths is None:
        return Layout.of_sequence(torch.arange(200).expand(2, -1), None)
    positions = [torch.cat([torch.arange(abs(n)) for n in row]) for row in lengths]
    numbered = [[(i if n > 0 else -1, abs(n)) for i, n in enumerate(row)] for row in lengths]
    documents = [torch.cat([torch.full((n,), i) for i, n in row]) for row in numbered]
    return Layout.of_sequence(torch.stack(positions), torch.stack(documents))


def attended(
    backend: Attention, layout: Layout, window: int | None, groups: int, **kind: object
) -> list[Tensor]:
    """Return the output and the gradients of query, key and value."""
    generator = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(2, 200, heads, 16, generator=generator).to(**kind).transpose(1, 2)
        for heads in (4, 4 // groups, 4 // groups)
    ]
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    out = backend(*tensors, backend.plan(layout, window))
    weight = torch.randn(out.shape, generator=generator).to(**kind)
    return [out, *torch.autograd.grad((out * weight).sum(), tensors)]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", [None, 1, 10, 90, 500])
@pytest.mark.parametrize("documents", DOCUMENTS)
def test_the_library_is_told_what_the_reference_sees(documents, window, groups):
    layout = layout_of(DOCUMENTS[documents])
    flash = FlashAttention(plain_varlen, dtypes=(torch.float32,))
    found = attended(flash, layout, window, groups, dtype=torch.float32)
    wanted = attended(Reference().build(), layout, window, groups, dtype=torch.float32)
    for mine, truth in zip(found, wanted):
        assert mine.shape == truth.shape
        assert torch.allclose(mine, truth, atol=1e-5)


@pytest.mark.skipif(not HAS_FLASH, reason="needs a CUDA device and flash-attn")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", [None, 10, 90])
@pytest.mark.parametrize("documents", DOCUMENTS)
def test_on_a_gpu_flash_equals_reference(documents, window, groups):
    cpu = layout_of(DOCUMENTS[documents])
    positions, document = cpu.query_position_bt.cuda(), cpu.query_document_bt
    layout = Layout.of_sequence(positions, None if document is None else document.cuda())
    kind = {"dtype": torch.bfloat16, "device": "cuda"}
    found = attended(Flash().build(), layout, window, groups, **kind)
    wanted = attended(Reference().build(), layout, window, groups, **kind)
    for mine, truth in zip(found, wanted):
        assert torch.allclose(mine, truth, atol=0.05, rtol=0.05)


def test_documents_become_bounds():
    plan = FlashAttention(plain_varlen).plan(layout_of(DOCUMENTS["packed"]), 10)
    assert plan.bounds.tolist() == [0, 150, 151, 181, 200, 264, 328, 400]
    assert plan.longest == 150
    assert plan.window == (9, 0)


@pytest.mark.parametrize("window", [None, 5])
def test_a_cache_is_left_to_torch(window):
    layout = Layout.of_cache(torch.tensor([[7], [3]]), 9)
    q, k, v = torch.randn(2, 4, 1, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8)
    flash, reference = FlashAttention(plain_varlen), Reference().build()
    found = flash(q, k, v, flash.plan(layout, window))
    assert torch.allclose(found, reference(q, k, v, reference.plan(layout, window)), atol=1e-5)


def test_other_precisions_are_refused():
    with pytest.raises(ConfigError, match=r"bf16 or fp16, not in torch\.float32"):
        attended(FlashAttention(plain_varlen), layout_of(None), None, 1, dtype=torch.float32)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="CUDA device"):
        Flash().build()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    with pytest.raises(ConfigError, match="flash-attn") as caught:
        Flash().build()
    assert "cwm-train[flash-attn]" in caught.value.hint


def test_the_kernel_is_the_librarys(monkeypatch):
    library = types.ModuleType("flash_attn")
    library.flash_attn_varlen_func = plain_varlen
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "flash_attn", library)
    backend = Flash().build()
    half = attended(backend, layout_of(None), 10, 2, dtype=torch.bfloat16)
    truth = attended(Reference().build(), layout_of(None), 10, 2, dtype=torch.bfloat16)
    assert torch.allclose(half[0], truth[0], atol=0.05)
