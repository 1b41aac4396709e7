"""Engines against a real HTTP server with a small deterministic model."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cwm_core.engine.base import Completion, Engine, EngineError, SamplingParams, Scores
from cwm_core.engine.config import OpenAIConfig, ScriptedConfig
from cwm_core.engine.scripted import ScriptedEngine
from cwm_core.env.concurrency import run_sync
from cwm_core.errors import DataError
from cwm_core.testing.engines import EngineConformance

VOCABULARY = 11


def distribution(previous: int) -> list[float]:
    """Return log-probabilities of a bigram model: the likeliest follower is 3 * previous + 1."""
    weights = [1.0 + ((token * 7 + previous * 5) % VOCABULARY) for token in range(VOCABULARY)]
    weights[(3 * previous + 1) % VOCABULARY] = 40.0
    return [math.log(weight / sum(weights)) for weight in weights]


def top(previous: int) -> int:
    scores = distribution(previous)
    return scores.index(max(scores))


class Server(ThreadingHTTPServer):
    """Speaks the completions protocol; `style` is where ids go, `spoil` alters answers."""

    daemon_threads = True
    style = "token_ids"
    failures = 0
    requests = 0
    spoil: Callable[[dict[str, Any]], Any] = staticmethod(lambda answer: answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        return

    def answer(self, status: int, body: Any) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer(200, {"data": [{"id": "bigram"}, {"id": "other"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests += 1
        if self.server.failures > 0:
            self.server.failures -= 1
            self.answer(503, {"error": {"message": "overloaded"}})
        elif body["model"] != "bigram":
            self.answer(404, {"error": {"message": "no such model"}})
        else:
            choice = self.scored(body) if scoring(body) else self.generated(body)
            self.answer(200, self.server.spoil({"choices": [choice], "model_version": 3}))

    def generated(self, body: dict[str, Any]) -> dict[str, Any]:
        ids: list[int] = []
        logprobs: list[float] = []
        previous = body["prompt"][-1]
        while len(ids) < body["max_tokens"] and not (ids and ids[-1] in body["stop_token_ids"]):
            token = top(previous)
            logprobs.append(distribution(previous)[token])
            ids.append(token)
            previous = token
        stopped = bool(ids) and ids[-1] in body["stop_token_ids"]
        choice: dict[str, Any] = {"text": "", "finish_reason": "stop" if stopped else "length"}
        names = [str(token) for token in ids]
        if self.server.style == "content":
            entries = [{"id": i, "logprob": lp} for i, lp in zip(ids, logprobs)]
            return {**choice, "logprobs": {"content": entries}}
        if self.server.style == "token_ids":
            choice["token_ids"] = ids
        elif self.server.style == "prefixed":
            names = [f"token_id:{token}" for token in ids]
        return {**choice, "logprobs": {"tokens": names, "token_logprobs": logprobs}}

    def scored(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        pairs = list(pairwise(prompt))
        if body.get("echo"):
            tops = [{f"token_id:{t}": distribution(p)[t] for t in {n, top(p)}} for p, n in pairs]
            logprobs = [None, *(distribution(p)[n] for p, n in pairs)]
            return {
                "text": "",
                "logprobs": {"token_logprobs": logprobs, "top_logprobs": [None, *tops]},
            }
        entries = [{str(t): {"logprob": distribution(p)[t]} for t in {n, top(p)}} for p, n in pairs]
        return {"text": "", "prompt_logprobs": [None, *entries]}


def scoring(body: dict[str, Any]) -> bool:
    return bool(body.get("echo")) or "prompt_logprobs" in body


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def make(server: Server, **fields: Any) -> Engine:
    return OpenAIConfig(base_url=server.url, timeout_s=5, **{"retries": 0, **fields}).build()


def generate(engine: Engine, params: SamplingParams | None = None) -> Completion:
    async def once() -> Completion:
        try:
            return await engine.generate([1, 2, 3], params or SamplingParams(max_tokens=4))
        finally:
            await engine.close()

    return run_sync(once())


def score(engine: Engine, ids: list[int]) -> Scores:
    async def once() -> Scores:
        try:
            return await engine.score(ids)
        finally:
            await engine.close()

    return run_sync(once())


class TestOpenAIConformance(EngineConformance):
    @pytest.fixture(params=["echo", "prompt_logprobs"])
    def engine(self, server: Server, request: pytest.FixtureRequest) -> Engine:
        return make(server, score_style=request.param)


class TestScriptedConformance(EngineConformance):
    @pytest.fixture
    def engine(self) -> Engine:
        return ScriptedEngine(by_prompt={self.prompt_ids: (5, 6, 7, 8, 9)})


@pytest.mark.parametrize("style", ["token_ids", "prefixed", "content"])
def test_token_ids_are_read_from_where_servers_put_them(server: Server, style: str) -> None:
    server.style = style
    made = generate(make(server))
    assert made.token_ids == (10, 9, 6, 8)
    assert made.logprobs[0] == pytest.approx(distribution(3)[10])
    assert made.model_versions == (3, 3, 3, 3)


def test_versions_per_token_are_kept(server: Server) -> None:
    server.spoil = lambda answer: with_versions(answer, [3, 3, 4, 5])
    assert generate(make(server)).model_versions == (3, 3, 4, 5)
    server.spoil = lambda answer: with_versions(answer, [3])
    with pytest.raises(EngineError, match="4 tokens, but 1 versions"):
        generate(make(server))


def with_versions(answer: dict[str, Any], versions: list[int]) -> dict[str, Any]:
    return {"choices": [{**answer["choices"][0], "model_versions": versions}]}


def test_text_tokens_are_never_taken_for_ids(server: Server) -> None:
    server.style = "text"
    with pytest.raises(EngineError, match="no token ids"):
        generate(make(server))


def test_the_engine_works_over_several_event_loops(server: Server) -> None:
    engine = make(server)

    async def once() -> Completion:
        return await engine.generate([1], SamplingParams(max_tokens=2))

    assert run_sync(once()) == run_sync(once())


def test_passing_trouble_is_retried(server: Server) -> None:
    server.failures = 2
    assert generate(make(server, model="bigram", retries=3)).finish_reason == "length"
    assert server.requests == 3


def test_lasting_trouble_is_reported(server: Server) -> None:
    server.failures = 99
    with pytest.raises(EngineError, match=r"refused a request \(503\).*overloaded"):
        generate(make(server, retries=1))


def test_an_unknown_model_names_the_known_ones(server: Server) -> None:
    with pytest.raises(EngineError, match="does not serve model 'gpt'") as caught:
        generate(make(server, model="gpt"))
    assert "bigram, other" in str(caught.value)


def test_a_refused_connection_says_what_to_start() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        engine = OpenAIConfig(base_url=url, retries=0, timeout_s=5).build()
        with pytest.raises(EngineError, match="cannot reach http://127") as caught:
            generate(engine)
    assert "cwm serve" in str(caught.value)


def test_a_stalled_server_is_a_clear_error() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        engine = OpenAIConfig(base_url=url, retries=0, timeout_s=0.2).build()
        with pytest.raises(EngineError, match=r"no answer within 0\.2 s"):
            generate(engine)


def without_logprobs(answer: dict[str, Any]) -> Any:
    del answer["choices"][0]["logprobs"]
    return answer


def one_token_short(answer: dict[str, Any]) -> Any:
    answer["choices"][0]["token_ids"].pop()
    return answer


def nan_logprob(answer: dict[str, Any]) -> Any:
    answer["choices"][0]["logprobs"]["token_logprobs"][0] = float("nan")
    return answer


def other_reason(answer: dict[str, Any]) -> Any:
    answer["choices"][0]["finish_reason"] = "abort"
    return answer


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_logprobs, "no log-probabilities"),
        (one_token_short, "3 token ids but 4 log-probabilities"),
        (nan_logprob, "no finite number"),
        (other_reason, "ended a completion with 'abort'"),
        (lambda answer: {"choices": []}, "without choices"),
        (lambda answer: [1], "no JSON object"),
        (lambda answer: b"<html>hello</html>", "no JSON object"),
    ],
)
def test_nonsense_is_named(server: Server, spoil: Callable[..., Any], message: str) -> None:
    server.spoil = spoil  # type: ignore[method-assign]
    with pytest.raises(EngineError, match=message):
        generate(make(server, model="bigram"))


@pytest.mark.parametrize("style", ["echo", "prompt_logprobs"])
def test_scores_of_unlikely_tokens_and_short_sequences(server: Server, style: str) -> None:
    engine = make(server, score_style=style)
    scores = score(engine, [1, 5, 9])
    assert scores.logprobs == pytest.approx((0.0, distribution(1)[5], distribution(5)[9]))
    assert scores.greedy_ids == (-1, top(1), top(5))
    assert score(engine, [1]) == Scores((0.0,), (-1,))
    assert score(engine, []) == Scores((), ())


@pytest.mark.parametrize("style", ["echo", "prompt_logprobs"])
def test_servers_that_cannot_score_are_named(server: Server, style: str) -> None:
    server.spoil = lambda answer: {"choices": [{"text": "", "finish_reason": "length"}]}  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="score_style"):
        score(make(server, score_style=style), [1, 2])


def test_a_script_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text('{"token_ids": [5, 6]}\n{"prompt_ids": [1, 2, 3], "token_ids": [7, 8]}\n')
    engine = ScriptedConfig(path=path).build()
    assert generate(engine).token_ids == (7, 8)
    assert generate(engine).token_ids == (7, 8)

    async def other() -> Completion:
        return await engine.generate([9], SamplingParams(max_tokens=1))

    made = run_sync(other())
    assert (made.token_ids, made.finish_reason) == ((5,), "length")
    with pytest.raises(EngineError, match="no completion for a prompt of 1 tokens"):
        run_sync(other())


def test_a_malformed_script_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    path.write_text('{"token_ids": [5]}\n{"tokens": [5]}\n')
    with pytest.raises(DataError, match="line 2 is no scripted completion"):
        ScriptedConfig(path=path).build()
    with pytest.raises(DataError, match="cannot read"):
        ScriptedConfig(path=tmp_path / "absent").build()
