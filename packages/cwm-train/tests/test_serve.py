"""The server over real HTTP, asked by hand and by cwm-core's client engine."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from cwm_core.engine.base import SamplingParams
from cwm_train.checkpoint.hf import with_tokenizer
from cwm_train.generate.batch import generate
from cwm_train.generate.engine import LocalEngine
from cwm_train.generate.score import score
from cwm_train.model.config import CwmTiny

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def engine(tokenizer) -> LocalEngine:
    torch.manual_seed(0)
    config = CwmTiny(init="normal", initializer_range=0.1, max_position_embeddings=64)
    return LocalEngine(with_tokenizer(config, tokenizer).build().eval(), tokenizer)


@pytest.fixture(scope="module")
def url(engine) -> Iterator[str]:
    from cwm_train.serve.app import create_app

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(engine, "tiny"), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def call(url: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def complete(url: str, **body: Any) -> dict[str, Any]:
    status, answer = call(f"{url}/v1/completions", {"model": "tiny", "temperature": 0, **body})
    assert status == 200, answer
    return answer


def test_models_and_health(url):
    assert call(f"{url}/health") == (200, {"status": "ok"})
    status, answer = call(f"{url}/v1/models")
    assert status == 200
    assert [(m["id"], m["max_model_len"]) for m in answer["data"]] == [("tiny", 64)]


def test_token_prompts_give_the_generators_tokens(url, engine):
    prompts = [[5, 6, 7], [8]]
    answer = complete(url, prompt=prompts, max_tokens=6, logprobs=0, return_token_ids=True)
    wanted = generate(
        engine.model,
        prompts,
        SamplingParams(max_tokens=6, stop_token_ids=engine.model.config.eos_token_id),
    )
    assert [tuple(c["token_ids"]) for c in answer["choices"]] == [c.token_ids for c in wanted]
    assert answer["choices"][0]["logprobs"]["token_logprobs"] == pytest.approx(
        wanted[0].logprobs, abs=1e-4
    )
    assert answer["usage"]["prompt_tokens"] == 4


def test_text_prompt_and_stop_string(url, engine):
    free = complete(url, prompt="def f(a, b):", max_tokens=12)["choices"][0]
    assert free["finish_reason"] in ("length", "stop")
    stop = free["text"][2:4]
    cut = complete(url, prompt="def f(a, b):", max_tokens=12, stop=stop)["choices"][0]
    assert cut["text"] == free["text"][: free["text"].find(stop)]
    assert cut["finish_reason"] == "stop"


def test_names_of_special_tokens_in_text_are_text_unless_asked(url):
    plain = complete(url, prompt="<|frame_sep|>", max_tokens=1, return_token_ids=True)
    parsed = complete(
        url, prompt="<|frame_sep|>", max_tokens=1, return_token_ids=True, parse_special=True
    )
    assert len(plain["choices"][0]["prompt_token_ids"]) > 1
    assert len(parsed["choices"][0]["prompt_token_ids"]) == 1


def test_echo_scores_the_prompt(url, engine):
    ids = [5, 6, 7, 8, 9]
    choice = complete(url, prompt=ids, max_tokens=0, echo=True, logprobs=1)["choices"][0]
    scores = score(engine.model, [ids])[0]
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert choice["logprobs"]["token_logprobs"][1:] == pytest.approx(scores.logprobs[1:], abs=1e-4)
    assert choice["text"] == engine.tokenizer.decode(ids)


def test_several_completions_have_seeds_of_their_own(url):
    body = {"prompt": [5, 6], "n": 3, "max_tokens": 8, "temperature": 1.5, "seed": 1}
    first, again = (complete(url, **body)["choices"] for _ in range(2))
    texts = [choice["text"] for choice in first]
    assert texts == [choice["text"] for choice in again]
    assert len(set(texts)) > 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"prompt": []}, 400, "empty"),
        ({"prompt": [10**6]}, 400, "vocabulary"),
        ({"prompt": [1] * 64}, 400, "context"),
        ({"prompt": [1], "max_tokens": -1}, 400, "max_tokens"),
        ({"prompt": [1], "stream": True, "echo": True}, 400, "stream"),
        ({"prompt": [1], "model": "other"}, 404, "not served"),
        ({}, 400, "prompt"),
    ],
)
def test_bad_requests_get_clear_answers(url, body, status, words):
    code, answer = call(f"{url}/v1/completions", {"model": "tiny", **body})
    assert code == status
    assert words in answer["error"]["message"]


@pytest.mark.parametrize("style", ["echo", "prompt_logprobs"])
def test_cwm_cores_client_sees_what_the_local_engine_gives(url, engine, style):
    pytest.importorskip("openai")
    from cwm_core.engine.config import OpenAIConfig

    client = OpenAIConfig(base_url=f"{url}/v1", score_style=style).build()
    params = SamplingParams(max_tokens=5, stop_token_ids=engine.model.config.eos_token_id)

    async def work():
        result = await client.generate([5, 6, 7], params), await client.score([5, 6, 7, 8])
        await client.close()
        return result

    completion, scores = asyncio.run(work())
    assert completion.token_ids == generate(engine.model, [[5, 6, 7]], params)[0].token_ids
    wanted = score(engine.model, [[5, 6, 7, 8]])[0]
    assert scores.greedy_ids == wanted.greedy_ids
    assert scores.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)
