"""The KV-cached generator and the local engine."""

from __future__ import annotations

import asyncio

import pytest
import torch

from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.errors import CwmError, DataError
from cwm_train.checkpoint.hf import save_pretrained, with_tokenizer
from cwm_train.generate.batch import generate
from cwm_train.generate.config import Local
from cwm_train.generate.score import score
from cwm_train.model.config import CwmTiny
from cwm_train.model.transformer import CwmForCausalLM


@pytest.fixture(scope="module")
def model() -> CwmForCausalLM:
    torch.manual_seed(0)
    config = CwmTiny(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, sliding_window=6, max_position_embeddings=80,
        init="normal", initializer_range=0.3,
    )  # fmt: skip
    return config.build().eval()


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 64, (n,), generator=generator).tolist() for n in (3, 11, 1, 20, 7)]


def greedy_without_cache(model: CwmForCausalLM, prompt: list[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


def test_cached_equals_uncached_for_every_row_of_a_ragged_batch(model, prompts):
    params = SamplingParams(max_tokens=15)
    for prompt, completion in zip(prompts, generate(model, prompts, params, max_batch=3)):
        assert list(completion.token_ids) == greedy_without_cache(model, prompt, 15)
        assert completion.finish_reason == "length"


def test_samples_do_not_depend_on_the_batch(model, prompts):
    each = [
        SamplingParams(max_tokens=12, temperature=0.9, top_p=0.9, top_k=20, seed=i)
        for i in range(len(prompts))
    ]
    together = generate(model, prompts, each)
    alone = [generate(model, [prompt], p)[0] for prompt, p in zip(prompts, each)]
    assert [c.token_ids for c in together] == [c.token_ids for c in alone]
    others = [SamplingParams(max_tokens=12, temperature=0.9, seed=99)] * len(prompts)
    assert [c.token_ids for c in generate(model, prompts, others)] != [
        c.token_ids for c in together
    ]


def test_stop_token_ends_a_row_and_is_its_last_token(model, prompts):
    free = generate(model, prompts, SamplingParams(max_tokens=15))
    stop = free[0].token_ids[4]
    for before, after in zip(
        free, generate(model, prompts, SamplingParams(max_tokens=15, stop_token_ids=(stop,)))
    ):
        if stop in before.token_ids:
            end = before.token_ids.index(stop) + 1
            assert after.token_ids == before.token_ids[:end]
            assert after.finish_reason == "stop"
        else:
            assert after.token_ids == before.token_ids


def test_logprobs_are_those_of_scoring(model, prompts):
    completions = generate(model, prompts, SamplingParams(max_tokens=9, temperature=1.0, seed=3))
    sequences = [[*p, *c.token_ids] for p, c in zip(prompts, completions)]
    for prompt, completion, scores in zip(prompts, completions, score(model, sequences, 40)):
        assert scores.logprobs[len(prompt) :] == pytest.approx(completion.logprobs, abs=1e-4)


def test_scores_say_what_greedy_would_have_drawn(model, prompts):
    completion = generate(model, prompts[:1], SamplingParams(max_tokens=8))[0]
    scores = score(model, [[*prompts[0], *completion.token_ids]])[0]
    assert scores.greedy_ids[len(prompts[0]) :] == completion.token_ids
    assert (scores.logprobs[0], scores.greedy_ids[0]) == (0.0, -1)


def test_generation_ends_at_the_context_length(model):
    completion = generate(model, [[1] * 75], SamplingParams(max_tokens=50))[0]
    assert (len(completion.token_ids), completion.finish_reason) == (5, "length")


@pytest.mark.parametrize("prompt", [[], [64], [-1], [0] * 80])
def test_unusable_prompts_are_refused(model, prompt):
    with pytest.raises(DataError):
        generate(model, [prompt], SamplingParams())


def test_top_k_one_is_greedy(model, prompts):
    greedy = generate(model, prompts, SamplingParams(max_tokens=8))
    top = generate(model, prompts, SamplingParams(max_tokens=8, temperature=2.0, top_k=1, seed=0))
    assert [c.token_ids for c in top] == [c.token_ids for c in greedy]


def test_nucleus_keeps_only_the_likeliest(model):
    prompt = [5, 9]
    with torch.no_grad():
        probabilities = model(torch.tensor([prompt]))[0, -1].softmax(-1)
    order = probabilities.argsort(descending=True)
    nucleus = int((probabilities[order].cumsum(0) < 0.5).sum()) + 1
    allowed = set(order[:nucleus].tolist())
    params = [SamplingParams(max_tokens=1, temperature=1.0, top_p=0.5, seed=i) for i in range(100)]
    drawn = {c.token_ids[0] for c in generate(model, [prompt] * 100, params)}
    assert drawn <= allowed
    assert len(drawn) > 1 or nucleus == 1


@pytest.fixture
def engine(tmp_path, tokenizer):
    torch.manual_seed(0)
    config = with_tokenizer(CwmTiny(init="normal", initializer_range=0.1), tokenizer)
    save_pretrained(config.build(), tokenizer, tmp_path)
    return Local(checkpoint=tmp_path, device="cpu", dtype="float32", max_batch=3).build()


def test_engine_merges_concurrent_calls(engine):
    prompts = [[1, 2, 3 + i] for i in range(8)]
    params = SamplingParams(max_tokens=6)

    async def work():
        both = await asyncio.gather(
            *(engine.generate(p, params) for p in prompts), *(engine.score(p) for p in prompts)
        )
        await engine.close()
        return both

    results = asyncio.run(work())
    wanted = generate(engine.model, prompts, params)
    assert isinstance(engine, Engine)
    assert [c.token_ids for c in results[:8]] == [c.token_ids for c in wanted]
    assert results[0].text == engine.tokenizer.decode(list(wanted[0].token_ids))
    assert [len(s.logprobs) for s in results[8:]] == [3] * 8


def test_closed_engine_refuses_and_cancelled_calls_leave_the_batch(engine):
    async def work():
        slow = asyncio.create_task(engine.generate([1, 2], SamplingParams(max_tokens=3000)))
        await asyncio.sleep(0.2)
        slow.cancel()
        quick = await engine.generate([1, 2], SamplingParams(max_tokens=2))
        await engine.close()
        with pytest.raises(CwmError):
            await engine.generate([1], SamplingParams())
        return quick

    assert len(asyncio.run(work()).token_ids) == 2


def test_missing_model_directory_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"config\.json"):
        Local(checkpoint=tmp_path / "nowhere").build()
