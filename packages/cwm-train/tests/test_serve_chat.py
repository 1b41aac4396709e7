"""Chat, streams and administration over real HTTP, asked by the official client."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from cwm_core.dialog.openai import from_openai, tool_specs
from cwm_core.dialog.template import ReasoningStyle, render_ids
from cwm_core.engine.base import SamplingParams
from cwm_core.text import special_tokens as st
from cwm_train.checkpoint.hf import save_pretrained, with_tokenizer
from cwm_train.generate.batch import generate
from cwm_train.generate.engine import LocalEngine
from cwm_train.model.config import CwmTiny
from cwm_train.serve.speech import Calls, Reasoning, Said, Speech

openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

HI = [{"role": "user", "content": "def f(a, b):"}]


def config(tokenizer) -> CwmTiny:
    small = CwmTiny(
        init="normal", initializer_range=0.1, hidden_size=32, intermediate_size=64,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, num_hidden_layers=2,
        sliding_window=16, max_position_embeddings=4096,
    )  # fmt: skip
    return with_tokenizer(small, tokenizer)


class Parrot(LocalEngine):
    """Says a given text, token by token, whatever it is asked; everything else is the engine's."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        self.says: list[int] | None = None

    async def stream(self, prompt_ids, params, top_logprobs=0):  # type: ignore[override]
        makes = super().stream(prompt_ids, params, top_logprobs)
        try:
            number = 0
            async for token in makes:
                if self.says is None:
                    yield token
                    continue
                last = number == len(self.says) - 1
                yield replace(
                    token, token_id=self.says[number], finish_reason="stop" if last else ""
                )
                number += 1
                if last:
                    return
        finally:
            await makes.aclose()


@pytest.fixture(scope="module")
def engine(tokenizer) -> Parrot:
    torch.manual_seed(0)
    return Parrot(config(tokenizer).build().eval(), tokenizer)


@pytest.fixture(scope="module")
def url(engine) -> Iterator[str]:
    from cwm_train.serve.access import Access
    from cwm_train.serve.app import create_app

    app = create_app(engine, "tiny", Access(key="secret", admin_key="admin"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def client(url) -> Any:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="secret", max_retries=0)


@pytest.fixture
def says(engine, tokenizer) -> Iterator[Any]:
    def say(text: str) -> None:
        engine.says = [*tokenizer.encode(text), tokenizer.special_id(st.EOT)]

    yield say
    engine.says = None


def test_chat_renders_the_template_and_gives_the_generators_tokens(client, engine, tokenizer):
    answer = client.chat.completions.create(
        model="tiny", messages=HI, max_tokens=8, temperature=0, logprobs=True, top_logprobs=3,
        extra_body={"return_token_ids": True, "stop_token_ids": [], "ignore_eos": True},
    )  # fmt: skip
    prompt = render_ids(from_openai(HI), tokenizer, prompt=True).ids
    wanted = generate(engine.model, [prompt], SamplingParams(max_tokens=8))[0]
    choice = answer.choices[0]
    assert tuple(choice.token_ids) == wanted.token_ids
    assert answer.prompt_token_ids == prompt
    shown = choice.logprobs.content
    assert [t.logprob for t in shown] == pytest.approx(wanted.logprobs, abs=1e-4)
    assert [len(t.top_logprobs) for t in shown] == [3] * 8
    assert shown[0].top_logprobs[0].logprob == pytest.approx(shown[0].logprob)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(prompt), 8)
    assert choice.finish_reason == "length"


@pytest.mark.parametrize("switch", [{"reasoning_effort": "none"}, {}])
def test_reasoning_is_told_apart_and_can_be_switched_off(client, says, switch):
    says("so a is 1\n</think>\nThe answer is 2.\n")
    message = client.chat.completions.create(
        model="tiny", messages=HI, temperature=0, max_tokens=99, **switch
    ).choices[0].message  # fmt: skip
    if switch:
        assert message.reasoning_content is None
        assert message.content == "so a is 1\n</think>\nThe answer is 2.\n"
    else:
        assert message.reasoning_content == "so a is 1"
        assert message.content == "The answer is 2.\n"


BASH = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Runs a command.",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
    },
}
CALLS = "look\n</think>\nI look.\n<tool: bash>\nls -l\n</tool>\n<tool: bash>\npwd\n</tool>"


def test_tool_calls_come_out_whole_and_streamed_alike(client, says):
    says(CALLS)
    asked: dict[str, Any] = {
        "model": "tiny", "messages": HI, "tools": [BASH], "temperature": 0, "max_tokens": 200
    }  # fmt: skip
    choice = client.chat.completions.create(**asked).choices[0]
    calls = [(c.function.name, json.loads(c.function.arguments)) for c in choice.message.tool_calls]
    assert calls == [("bash", {"command": "ls -l"}), ("bash", {"command": "pwd"})]
    assert choice.message.content == "I look."
    assert choice.finish_reason == "tool_calls"
    said: dict[str, str] = {"content": "", "reasoning_content": ""}
    streamed, reasons = [], []
    for chunk in client.chat.completions.create(**asked, stream=True):
        delta = chunk.choices[0].delta
        for kind in said:
            said[kind] += getattr(delta, kind, None) or ""
        for call in delta.tool_calls or []:
            streamed.append((call.function.name, json.loads(call.function.arguments)))
        reasons += [chunk.choices[0].finish_reason] * bool(chunk.choices[0].finish_reason)
    assert (streamed, reasons) == (calls, ["tool_calls"])
    assert said == {"content": "I look.", "reasoning_content": "look"}


def test_results_of_tools_go_back_into_the_dialog(client, tokenizer):
    call = {
        "id": "c1", "type": "function",
        "function": {"name": "bash", "arguments": '{"command": "ls"}'},
    }  # fmt: skip
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "a.py"},
    ]
    answer = client.chat.completions.create(
        model="tiny", messages=messages, tools=[BASH], max_tokens=1,
        extra_body={"return_token_ids": True},
    )  # fmt: skip
    text = tokenizer.decode(answer.prompt_token_ids)
    assert "<tool: bash>\nls\n</tool>" in text
    assert "tool: bash<|end_header_id|>\n\na.py<|eot_id|>" in text


def test_streams_are_the_whole_answer_in_pieces(client):
    asked: dict[str, Any] = {
        "model": "tiny", "prompt": [5, 6, 7], "max_tokens": 24, "seed": 3, "n": 2, "logprobs": 2
    }  # fmt: skip
    extra = {"return_token_ids": True, "return_tokens_as_token_ids": True}
    whole = client.completions.create(**asked, extra_body=extra)
    text, ids, values, usage = ["", ""], [[], []], [[], []], None  # type: ignore[var-annotated]
    for chunk in client.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}, extra_body=extra
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text[choice.index] += choice.text
            ids[choice.index] += choice.token_ids
            values[choice.index] += choice.logprobs.token_logprobs
    for index, choice in enumerate(whole.choices):
        assert text[index] == choice.text
        assert ids[index] == choice.token_ids
        assert values[index] == pytest.approx(choice.logprobs.token_logprobs, abs=1e-4)
        assert all(len(top) == 2 for top in choice.logprobs.top_logprobs)
    assert usage == whole.usage


def test_a_stop_string_ends_the_request_in_the_engine(client, engine):
    asked = {"model": "tiny", "prompt": [5, 6, 7], "temperature": 0, "max_tokens": 40}
    free = client.completions.create(**asked, extra_body={"ignore_eos": True}).choices[0].text
    stop = free[8:11]
    before = engine.stats.generated_tokens
    made = client.completions.create(**asked, stop=stop, extra_body={"ignore_eos": True})
    assert made.choices[0].text == free[: free.index(stop)]
    assert made.choices[0].finish_reason == "stop"
    assert client.completions.create(**{**asked, "max_tokens": 1})  # a later step settles the count
    assert engine.stats.generated_tokens - before < 40


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_its_request(client, engine, stream):
    cancelled = engine.stats.cancelled

    async def leave() -> None:
        impatient = openai.AsyncOpenAI(
            base_url=client.base_url, api_key="secret", max_retries=0, timeout=0.5
        )
        asked = {"model": "tiny", "prompt": [5], "max_tokens": 4000, "stream": stream}
        with pytest.raises((openai.APITimeoutError, TimeoutError)):
            async with asyncio.timeout(0.5):
                answer = await impatient.completions.create(
                    **asked, extra_body={"ignore_eos": True}
                )
                async for _ in answer:
                    pass
        await impatient.close()

    asyncio.run(leave())
    deadline = time.monotonic() + 60
    while engine.stats.cancelled == cancelled and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engine.stats.cancelled == cancelled + 1


@pytest.mark.parametrize(
    ("change", "error", "param"),
    [
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "poet", "content": "x"}]}, openai.BadRequestError, None),
        ({"model": "other"}, openai.NotFoundError, "model"),
        ({"logit_bias": {"5": 1}}, openai.BadRequestError, "logit_bias"),
        ({"presence_penalty": 0.5}, openai.BadRequestError, "presence_penalty"),
        ({"tools": [BASH], "tool_choice": "required"}, openai.BadRequestError, "tool_choice"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"extra_body": {"chat_template_kwargs": {"think": 1}}}, openai.BadRequestError, None),
    ],
)
def test_bad_chats_are_refused_in_openais_format(client, change, error, param):
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": "tiny", "messages": HI, **change})
    body = caught.value.body
    assert body["message"]
    assert body["type"] in ("invalid_request_error", "not_found_error")
    assert param is None or body["param"] == param


def test_a_prompt_beyond_the_context_has_openais_code(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt=[1] * 4097)
    assert caught.value.code == "context_length_exceeded"


def test_keys_are_asked_for(url, client):
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{url}/v1", api_key="guess", max_retries=0).models.list()
    assert [m.id for m in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").max_model_len == 4096


def test_tokenize_and_detokenize(url, client, tokenizer):
    root = client.with_options(base_url=url)
    found = root.post("/tokenize", cast_to=object, body={"messages": HI})
    assert found["tokens"] == render_ids(from_openai(HI), tokenizer, prompt=True).ids
    found = root.post("/tokenize", cast_to=object, body={"prompt": "return a"})
    again = root.post("/detokenize", cast_to=object, body={"tokens": found["tokens"]})
    assert (again["prompt"], found["count"]) == ("return a", len(found["tokens"]))


def test_new_weights_over_http_are_for_those_with_the_key(url, client, engine, tokenizer, tmp_path):
    torch.manual_seed(5)
    other = config(tokenizer).build()
    save_pretrained(other, tokenizer, tmp_path)
    body = {"model_path": str(tmp_path), "weight_version": 7}
    with pytest.raises(openai.AuthenticationError):
        client.with_options(base_url=url).post(
            "/update_weights_from_disk", cast_to=object, body=body
        )
    admin = openai.OpenAI(base_url=url, api_key="admin", max_retries=0)
    answer = admin.post("/update_weights_from_disk", cast_to=object, body=body)
    assert (answer["success"], answer["model_version"]) == (True, 7)
    made = client.completions.create(
        model="tiny", prompt=[5, 6, 7], max_tokens=6, temperature=0,
        extra_body={"return_token_ids": True, "ignore_eos": True},
    )  # fmt: skip
    wanted = generate(other.eval(), [[5, 6, 7]], SamplingParams(max_tokens=6))[0]
    assert tuple(made.choices[0].token_ids) == wanted.token_ids
    assert made.choices[0].model_versions == [7] * 6
    with pytest.raises(openai.BadRequestError, match="cannot read the weights"):
        body = {"model_path": str(tmp_path / "none")}
        admin.post("/update_weights_from_disk", cast_to=object, body=body)


def test_metrics_are_prometheus_text(url, client):
    import urllib.request

    client.completions.create(model="tiny", prompt=[5, 6], max_tokens=2)
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    samples = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
    assert float(samples["cwm_generated_tokens_total"]) > 0
    assert float(samples["cwm_requests_running"]) == 0
    assert "# TYPE cwm_generated_tokens_total counter" in text


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_speech_does_not_depend_on_how_the_text_is_cut(size):
    speech = Speech(ReasoningStyle.TAG, begun=True, tools=True)
    parts = [CALLS[i : i + size] for i in range(0, len(CALLS), size)]
    said = [part for text in parts for part in speech.add(text)] + speech.add("", end=True)
    assert "".join(part.reasoning for part in said) == "look"
    assert "".join(part.content for part in said) == "I look."
    assert [part.call.content for part in said if part.call] == ["ls -l", "pwd"]


def test_reasoning_the_model_opens_itself_and_by_tokens():
    own = Reasoning(ReasoningStyle.TAG, begun=False)
    assert own.add("<think>\na\n</think>\nb", end=True) == ("a", "b")
    assert Reasoning(ReasoningStyle.TAG, begun=False).add("b <think>", end=True) == (
        "",
        "b <think>",
    )
    tokens = Reasoning(ReasoningStyle.TOKEN, begun=True)
    assert tokens.add(f"a{st.REASONING_END}b", end=True) == ("a", "b")
    unfinished = Reasoning(ReasoningStyle.TAG, begun=True)
    assert unfinished.add("a\n</thi", end=True) == ("a\n</thi", "")


def test_an_unfinished_call_stays_text():
    text, calls = "x\n<tool: bash>\nls", Calls()
    said = [part for letter in text for part in calls.add(letter)] + calls.add("", end=True)
    assert all(part == Said(content=part.content) for part in said)
    assert "".join(part.content for part in said) == text
    assert tool_specs([BASH])[0].name == "bash"
