"""The decoding steps, in C and with torch, against the model's own forward pass."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch

from cwm_core.engine.base import SamplingParams
from cwm_train.generate import native_library, native_step, probe
from cwm_train.generate.batch import DecodingBatch
from cwm_train.generate.decode import DecodeStep
from cwm_train.generate.forward import ForwardStep
from cwm_train.generate.native_step import NativeStep
from cwm_train.generate.request import Request
from cwm_train.generate.score import score
from cwm_train.generate.steps import make_step
from cwm_train.model.cache import KVCache
from cwm_train.model.config import CwmTiny, RopeParameters
from cwm_train.model.transformer import CwmForCausalLM

NATIVE = Path(native_library.__file__).parent / "native"
compiled = pytest.mark.skipif(
    native_library.load()[0] is None, reason="the step in C was not compiled"
)
SHAPES = {
    "grouped, odd vocabulary": {"num_key_value_heads": 2, "vocab_size": 67},
    "one group, wide heads": {"num_key_value_heads": 1, "head_dim": 48},
    "all sliding, short ring": {"pattern": "s", "sliding_window": 5},
    "all full, tied, scaled": {
        "pattern": "f",
        "tie_word_embeddings": True,
        "rope_parameters": RopeParameters(original_max_position_embeddings=32),
    },
}


def build(**fields) -> CwmForCausalLM:
    small = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 72, "num_attention_heads": 4,
        "num_key_value_heads": 4, "head_dim": 8, "sliding_window": 24, "num_hidden_layers": 3,
        "max_position_embeddings": 256, "init": "normal", "initializer_range": 0.15,
    }  # fmt: skip
    torch.manual_seed(0)
    return CwmTiny(**{**small, **fields}).build().eval()


def made_by(model: CwmForCausalLM, use_native: bool, lengths: list[int]) -> list[Request]:
    draw = torch.Generator().manual_seed(1)
    batch = DecodingBatch(model, chunk=100, native=use_native)
    requests = [
        Request(
            torch.randint(0, model.config.vocab_size, (length,), generator=draw).tolist(),
            SamplingParams(max_tokens=40, temperature=float(i % 2), seed=i),
        )
        for i, length in enumerate(lengths)
    ]
    for request in requests:
        batch.add(request)
    while len(batch):
        batch.step()
    return requests


@pytest.mark.parametrize("use_native", [pytest.param(True, marks=compiled), False])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_give_the_trainers_logprobs_and_its_likeliest_tokens(shape, use_native):
    model = build(**SHAPES[shape])
    made = made_by(model, use_native, [1, 2, 17, 30, 55, 150])
    for i, (request, scores) in enumerate(zip(made, score(model, [r.ids for r in made]))):
        start = len(request.prompt)
        assert request.logprobs == pytest.approx(scores.logprobs[start:], abs=1e-5)
        if i % 2 == 0:
            assert request.token_ids == list(scores.greedy_ids[start:])


@compiled
def test_the_step_in_c_gives_the_tokens_of_the_other_whatever_the_threads(monkeypatch):
    monkeypatch.setattr(native_step, "THREAD_PRODUCTS", 1)
    model, threads = build(), torch.get_num_threads()
    expected = [r.token_ids for r in made_by(model, False, [3, 40, 8, 70, 21])]
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            made = made_by(model, True, [3, 40, 8, 70, 21])
            assert [r.token_ids for r in made] == expected
    finally:
        torch.set_num_threads(threads)


@compiled
@torch.inference_mode()
def test_a_rows_numbers_in_c_are_bit_for_bit_independent_of_other_rows():
    model, cache = build(), KVCache(build().config)
    step, rows = NativeStep(model, cache), 61
    draw = torch.Generator().manual_seed(2)
    cache.reserve(rows, 64)
    cache.layers = [torch.randn(layer.shape, generator=draw) for layer in cache.layers]
    ids_b = torch.randint(0, 64, (rows,), generator=draw)
    positions_b = torch.randint(0, 64, (rows,), generator=draw)
    together_bv = step(ids_b, positions_b, 64)
    for count in (1, 2, 3, 4, 5, 60):
        alone_bv = step(ids_b[:count], positions_b[:count], 64)
        assert torch.equal(alone_bv, together_bv[:count])


@compiled
def test_weights_changed_in_place_reach_the_step_in_c():
    model, other = build(), build()
    step = NativeStep(model, KVCache(model.config))
    with torch.inference_mode():
        step.fill([0], [0], [[5, 6, 7]])
    with torch.no_grad():
        for weight, new in zip(model.parameters(), other.parameters()):
            new.normal_(std=0.2)
            weight.copy_(new)
    with torch.inference_mode():
        step.fill([0], [0], [[5, 6, 7]])
        logits_1v = step(torch.tensor([8]), torch.tensor([3]), 4)
        expected_v = other(torch.tensor([[5, 6, 7, 8]]))[0, -1]
    torch.testing.assert_close(logits_1v[0], expected_v, atol=2e-5, rtol=1e-5)


@compiled
@pytest.mark.parametrize(
    ("fields", "dtype", "options", "kind"),
    [
        ({}, torch.float32, {}, NativeStep),
        ({}, torch.float32, {"native": False}, DecodeStep),
        ({}, torch.float32, {"batch_invariant": True}, ForwardStep),
        ({}, torch.bfloat16, {}, DecodeStep),
        ({"head_dim": 12}, torch.float32, {}, DecodeStep),
        ({"intermediate_size": 60}, torch.float32, {}, DecodeStep),
        ({"hidden_size": 1024, "intermediate_size": 2048}, torch.float32, {}, DecodeStep),
    ],
)
def test_each_model_gets_the_step_that_suits_it(fields, dtype, options, kind):
    model = build(**fields).to(dtype)
    step = make_step(model, KVCache(model.config, dtype=dtype), **options)
    assert type(step) is kind


def test_without_the_library_torch_computes(monkeypatch):
    for module in (native_step, probe):
        monkeypatch.setattr(module, "load", lambda: (None, "it was not compiled"))
    model = build()
    assert type(make_step(model, KVCache(model.config))) is DecodeStep
    finding = probe.native_decoder()
    assert not finding.found and "torch computes" in finding.detail and "pip" in finding.get_it


@compiled
def test_doctor_names_the_library():
    finding = probe.native_decoder()
    assert finding.found and finding.detail.startswith("_native.")


@compiled
def test_the_sources_compile_without_warnings():
    compiler = sysconfig.get_config_var("CC").split()
    flags = ["-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-psabi", "-Werror", "-fsyntax-only"]
    sources = map(str, sorted(NATIVE.glob("*.c")))
    done = subprocess.run([*compiler, *flags, *sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
