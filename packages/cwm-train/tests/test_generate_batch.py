"""Rings, chunks, reuse, admission and weights that change under way."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
import torch

from cwm_core.engine.base import EngineError, SamplingParams, UpdatableEngine
from cwm_core.errors import ConfigError, ContextLengthError, DataError
from cwm_train.checkpoint.hf import save_pretrained, with_tokenizer
from cwm_train.generate.batch import DecodingBatch, generate
from cwm_train.generate.engine import LocalEngine
from cwm_train.generate.request import Request
from cwm_train.generate.score import score
from cwm_train.generate.worker import Options
from cwm_train.model.config import CwmModelConfig, CwmTiny
from cwm_train.model.transformer import CwmForCausalLM

SMALL = CwmTiny(
    vocab_size=64, hidden_size=32, intermediate_size=64, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, sliding_window=24, max_position_embeddings=256,
    init="normal", initializer_range=0.1,
)  # fmt: skip


def build(seed: int = 0, config: CwmModelConfig = SMALL) -> CwmForCausalLM:
    torch.manual_seed(seed)
    return config.build().eval()


@pytest.fixture(scope="module")
def model() -> CwmForCausalLM:
    return build()


def numbers(count: int, seed: int = 0) -> list[int]:
    return torch.randint(0, 64, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def finish(batch: DecodingBatch) -> None:
    while len(batch):
        batch.step()


def run(batch: DecodingBatch, prompts: list[list[int]], params: SamplingParams) -> list[Request]:
    requests = [Request(prompt, params) for prompt in prompts]
    for request in requests:
        batch.add(request)
    finish(batch)
    return requests


def greedy(model: CwmForCausalLM, prompt: list[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("chunk", [7, 30, 512])
def test_chunks_of_prompts_longer_than_the_window_change_nothing(model, chunk):
    prompts = [numbers(n, n) for n in (70, 3, 41, 25, 24)]
    made = run(DecodingBatch(model, chunk=chunk), prompts, SamplingParams(max_tokens=30))
    for prompt, request in zip(prompts, made):
        assert request.token_ids == greedy(model, prompt, 30)


def test_logprobs_equal_the_trainers_forward_to_1e_5(model):
    params = SamplingParams(max_tokens=60, temperature=1.0, seed=1)
    prompts = [numbers(n, n) for n in (50, 9, 33)]
    made = run(DecodingBatch(model, chunk=16), prompts, params)
    for request, scores in zip(made, score(model, [r.ids for r in made])):
        trained = scores.logprobs[len(request.prompt) :]
        assert max(abs(a - b) for a, b in zip(request.logprobs, trained)) <= 1e-5


def test_a_long_prompt_does_not_hold_up_the_running_sequences(model):
    batch = DecodingBatch(model, chunk=8)
    running = Request(numbers(4), SamplingParams(max_tokens=100))
    batch.add(running)
    batch.step()
    late = Request(numbers(81, 1), SamplingParams(max_tokens=5))
    batch.add(late)
    before = len(running.token_ids)
    for _ in range(9):
        batch.step()
    assert len(running.token_ids) == before + 9
    assert late.token_ids == []
    batch.step()
    assert len(late.token_ids) == 1


def test_a_seed_gives_the_same_tokens_whoever_else_joins_and_leaves(model):
    params = SamplingParams(max_tokens=40, temperature=1.0, top_p=0.95, top_k=30, seed=11)
    alone = run(DecodingBatch(model), [numbers(10)], params)[0].token_ids
    batch = DecodingBatch(model)
    mine = Request(numbers(10), params)
    for step in range(60):
        if step == 3:
            batch.add(mine)
        if step % 4 == 0:
            other = SamplingParams(max_tokens=3 + step % 7, temperature=1.3, seed=step)
            batch.add(Request(numbers(5 + step % 9, step), other))
        batch.step()
    assert mine.token_ids == alone


def test_samples_of_one_prompt_compute_it_once(model):
    batch = DecodingBatch(model, prefix_bytes=2**24)
    requests = [
        Request(numbers(90), SamplingParams(max_tokens=6, temperature=1.0, seed=i))
        for i in range(6)
    ]
    for request in requests:
        batch.add(request)
    finish(batch)
    assert batch.computed_tokens == 89
    assert batch.reused_tokens == 89 * 5
    plain = generate(model, [numbers(90)] * 6, [r.params for r in requests])
    assert [r.token_ids for r in requests] == [list(c.token_ids) for c in plain]


def test_a_further_turn_computes_only_what_is_new(model):
    batch = DecodingBatch(model, prefix_bytes=2**24)
    first = run(batch, [numbers(60)], SamplingParams(max_tokens=20))[0]
    computed = batch.computed_tokens
    prompt = first.ids + numbers(9, 3)
    second = run(batch, [prompt], SamplingParams(max_tokens=20))[0]
    assert batch.computed_tokens - computed == 9
    assert second.cached_tokens == 79
    assert second.token_ids == greedy(model, prompt, 20)


def test_a_prompt_that_leaves_a_wrapped_ring_is_computed_anew(model):
    batch = DecodingBatch(model, prefix_bytes=2**24)
    run(batch, [numbers(60)], SamplingParams(max_tokens=2))
    other = numbers(60)[:40] + numbers(10, 5)
    assert run(batch, [other], SamplingParams(max_tokens=8))[0].token_ids == greedy(model, other, 8)
    short = numbers(60)[:20]
    branch = [*short[:18], 1, 2, 3]
    for prompt in (short, branch):
        made = run(batch, [prompt], SamplingParams(max_tokens=8))[0]
        assert made.token_ids == greedy(model, prompt, 8)
    assert made.cached_tokens == 18


def test_kept_prefixes_stay_below_their_limit(model):
    batch = DecodingBatch(model, prefix_bytes=150_000)
    for seed in range(8):
        run(batch, [numbers(80, seed)], SamplingParams(max_tokens=4))
    assert 0 < batch.prefixes.nbytes <= 150_000


@pytest.mark.parametrize("recompute", [False, True])
def test_tokens_after_an_update_are_the_new_models(recompute):
    model, other = build(0), build(9)
    batch = DecodingBatch(model, prefix_bytes=2**24)
    request = Request(numbers(30), SamplingParams(max_tokens=24))
    batch.add(request)
    while len(request.token_ids) < 10:
        batch.step()
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            weight.copy_(other.state_dict()[name])
    batch.version = 3
    batch.forget(recompute)
    finish(batch)
    assert request.versions == [0] * 10 + [3] * 14
    as_if_always_new = greedy(other, request.prompt + request.token_ids[:10], 14)
    assert (request.token_ids[10:] == as_if_always_new) is recompute
    assert len(batch.prefixes) == (1 if not recompute else 2)
    again = run(batch, [request.prompt], SamplingParams(max_tokens=8))[0]
    assert recompute is False or again.token_ids == greedy(other, request.prompt, 8)


def make_engine(tokenizer, **options) -> LocalEngine:
    return LocalEngine(build(0, with_tokenizer(SMALL, tokenizer)), tokenizer, Options(**options))


def test_updates_between_steps_reach_running_requests(tokenizer, tmp_path):
    engine = make_engine(tokenizer)
    other = build(7, engine.model.config)
    save_pretrained(other, tokenizer, tmp_path)

    async def work():
        running = [
            asyncio.create_task(engine.generate([i], SamplingParams(max_tokens=200)))
            for i in range(3)
        ]
        while engine.stats.generated_tokens < 30:
            await asyncio.sleep(0.001)
        await engine.update_weights(tmp_path, 4)
        state = {name: weight.clone() for name, weight in other.state_dict().items()}
        await engine.update_weights(state, 5)
        made = await asyncio.gather(*running)
        fresh = await engine.generate([9], SamplingParams(max_tokens=6))
        with pytest.raises(DataError, match="missing"):
            await engine.update_weights({"model.norm.weight": torch.ones(32)}, 6)
        await engine.close()
        return made, fresh

    made, fresh = asyncio.run(work())
    assert isinstance(engine, UpdatableEngine)
    for completion in made:
        versions = completion.model_versions
        assert len(versions) == len(completion.token_ids) == 200
        assert list(versions) == sorted(versions)
        assert (versions[0], versions[-1]) == (0, 5)
    assert fresh.model_versions == (5,) * 6
    assert list(fresh.token_ids) == greedy(other, [9], 6)
    assert engine.stats.version == 5


def test_requests_wait_for_room_in_their_order(tokenizer):
    engine = make_engine(tokenizer, cache_tokens=250, max_batch=8)
    done: list[int] = []

    async def ask(number: int, tokens: int) -> None:
        await engine.generate([number], SamplingParams(max_tokens=tokens))
        done.append(number)

    async def work() -> int:
        calls = [asyncio.create_task(ask(i, n)) for i, n in enumerate((100, 100, 100, 2))]
        most = 0
        while not all(call.done() for call in calls):
            most = max(most, engine.stats.running)
            await asyncio.sleep(0)
        await engine.close()
        return most

    assert asyncio.run(work()) <= 2
    assert set(done[:2]) == {0, 1}
    assert set(done[2:]) == {2, 3}


def test_streamed_tokens_are_the_completions_and_closing_cancels(tokenizer):
    engine = make_engine(tokenizer)
    params = SamplingParams(max_tokens=12, temperature=1.0, seed=4)

    async def work():
        streamed = [token async for token in engine.stream([5, 6], params, 2)]
        whole = await engine.generate([5, 6], params, 2)
        forever = engine.stream([5], replace(params, max_tokens=250))
        await anext(forever)
        await forever.aclose()
        await engine.generate([5], SamplingParams(max_tokens=1))
        cancelled = engine.stats.cancelled
        await engine.close()
        return streamed, whole, cancelled

    streamed, whole, cancelled = asyncio.run(work())
    assert tuple(token.token_id for token in streamed) == whole.token_ids
    assert tuple(token.top_logprobs for token in streamed) == whole.top_logprobs
    assert all(len(tops) == 2 for tops in whole.top_logprobs)
    assert [token.finish_reason for token in streamed] == [""] * 11 + ["length"]
    assert cancelled == 1


@pytest.mark.parametrize(
    ("prompt", "params", "error"),
    [
        ([], {}, DataError),
        ([1] * 256, {}, ContextLengthError),
        ([10**6], {}, DataError),
        ([1], {"max_tokens": 0}, ConfigError),
        ([1], {"temperature": math.nan}, ConfigError),
        ([1], {"top_p": 0.0}, ConfigError),
        ([1], {"top_k": -1}, ConfigError),
    ],
)
def test_unusable_requests_are_refused_before_they_reach_the_batch(
    tokenizer, prompt, params, error
):
    engine = make_engine(tokenizer)

    async def work():
        with pytest.raises(error):
            await engine.generate(prompt, SamplingParams(**params))
        await engine.close()

    asyncio.run(work())
    assert engine.stats.requests == 0


def test_damaged_weights_fail_the_requests_and_good_ones_heal_the_engine(tokenizer):
    engine = make_engine(tokenizer)
    good = {name: weight.clone() for name, weight in engine.model.state_dict().items()}

    async def work():
        bad = {name: weight * math.nan for name, weight in good.items()}
        await engine.update_weights(bad, 1)
        with pytest.raises(EngineError, match="version 1"):
            await engine.generate([1, 2], SamplingParams(max_tokens=4))
        await engine.update_weights(good, 2)
        made = await engine.generate([1, 2], SamplingParams(max_tokens=4))
        await engine.close()
        return made

    assert asyncio.run(work()).model_versions == (2,) * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grouped_heads_and_other_precisions(dtype):
    model = build(3).to(dtype)
    made = generate(model, [numbers(40)], SamplingParams(max_tokens=20))[0]
    scores = score(model, [[*numbers(40), *made.token_ids]])[0]
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    assert scores.logprobs[40:] == pytest.approx(made.logprobs, abs=tolerance)
