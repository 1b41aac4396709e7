"""``POST /v1/chat/completions``."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

from cwm_core.dialog.openai import arguments_from_content, from_openai, tool_specs
from cwm_core.dialog.template import ChatTemplate, ReasoningStyle, render_ids
from cwm_core.dialog.tools import ToolCall, ToolSpec
from cwm_core.text import special_tokens as st
from cwm_train.generate.engine import LocalEngine
from cwm_train.generate.request import Token, check_params, check_prompt
from cwm_train.serve.answers import frame, merged, usage
from cwm_train.serve.generation import Piece, pieces, whole
from cwm_train.serve.protocol import ChatRequest
from cwm_train.serve.speech import Said, Speech


def chat_prompt(
    engine: LocalEngine,
    messages: Sequence[dict[str, Any]],
    tools: Sequence[ToolSpec],
    template: ChatTemplate,
    prompt: bool = True,
) -> list[int]:
    """Return the token ids of a conversation; raises `DataError` or `CodecError` for a bad one."""
    dialog = from_openai(messages, tools)
    return render_ids(dialog, engine.tokenizer, template, prompt=prompt).ids


class Chat:
    """The answers that one request asked for."""

    def __init__(
        self, engine: LocalEngine, request: ChatRequest, model: str, style: ReasoningStyle
    ) -> None:
        self._engine, self._request, self._style = engine, request, style
        request.check()
        specs = tool_specs(request.offered)
        self._specs = {spec.name: spec for spec in specs}
        template = ChatTemplate(
            style,
            enable_thinking=request.thinks,
            preserve_previous_think=request.chat_template_kwargs.get(
                "preserve_previous_think", True
            ),
        )
        self._prompt = chat_prompt(engine, request.messages, specs, template)
        self._begun = request.thinks and request.messages[-1].get("role") != "assistant"
        check_prompt(self._prompt, engine.model.config)
        check_params(self._params(0))
        self._frame = frame("chat.completion", "chatcmpl", model)

    async def answer(self) -> dict[str, Any]:
        """Return the whole answer."""
        made = await asyncio.gather(*(self._choice(i) for i in range(self._request.n)))
        generated = sum(count for _, count in made)
        return {
            **self._frame,
            "choices": [choice for choice, _ in made],
            "usage": usage(len(self._prompt), generated),
            "model_version": self._engine.stats.version,
            **({"prompt_token_ids": self._prompt} if self._request.return_token_ids else {}),
        }

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the answer piece by piece."""
        head = {**self._frame, "object": "chat.completion.chunk"}
        count, generated = self._request.n, 0
        speeches, calls = [self._speech() for _ in range(count)], [0] * count
        for index in range(count):
            opening = {"role": "assistant", "content": ""}
            yield {**head, "choices": [{"index": index, "delta": opening, "finish_reason": None}]}
        async for index, piece in merged([self._pieces(i) for i in range(count)]):
            generated += len(piece.tokens)
            end = piece.finish_reason is not None
            said = speeches[index].add(piece.text, end)
            extra: dict[str, Any] = {}
            if self._request.logprobs:
                extra["logprobs"] = {"content": self._logprobs(piece.tokens)}
            if self._request.return_token_ids:
                extra |= _ids(piece.tokens)
            for part in said or ([Said()] if extra or end else []):
                delta = self._delta(part, calls[index])
                calls[index] += part.call is not None
                choice = {"index": index, "delta": delta, "finish_reason": None, **extra}
                extra = {}
                yield {**head, "choices": [choice]}
            if end:
                reason = "tool_calls" if calls[index] else piece.finish_reason
                last = {"index": index, "delta": {}, "finish_reason": reason}
                yield {**head, "choices": [last]}
        if self._request.tells_usage:
            yield {**head, "choices": [], "usage": usage(len(self._prompt), generated)}

    def _params(self, copy: int) -> Any:
        request, config = self._request, self._engine.model.config
        most = request.max_completion_tokens or request.max_tokens
        if most is None:
            most = max(1, config.max_position_embeddings - len(self._prompt))
        return request.sampling(self._engine.tokenizer, config.eos_token_id, copy, most)

    def _pieces(self, copy: int) -> AsyncIterator[Piece]:
        request, ids = self._request, self._engine.tokenizer.special_ids
        marks = (st.REASONING_START, st.REASONING_END)
        return pieces(
            self._engine,
            self._prompt,
            self._params(copy),
            tops=request.top_logprobs if request.logprobs else 0,
            stops=request.stops(),
            skip_special=request.skip_special_tokens,
            shown=frozenset(ids[mark] for mark in marks if mark in ids),
        )

    def _speech(self) -> Speech:
        return Speech(self._style, self._begun, bool(self._specs))

    async def _choice(self, index: int) -> tuple[dict[str, Any], int]:
        made = await whole(self._pieces(index))
        said = self._speech().add(made.text, end=True)
        calls = [part.call for part in said if part.call is not None]
        content = "".join(part.content for part in said)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if calls and not content else content,
            "reasoning_content": "".join(part.reasoning for part in said) or None,
        }
        if calls:
            message["tool_calls"] = [self._call(call) for call in calls]
        choice: dict[str, Any] = {
            "index": index,
            "message": message,
            "finish_reason": "tool_calls" if calls else made.finish_reason,
            "logprobs": None,
        }
        if self._request.logprobs:
            choice["logprobs"] = {"content": self._logprobs(made.tokens)}
        if self._request.return_token_ids:
            choice |= _ids(made.tokens)
        return choice, len(made.tokens)

    def _delta(self, said: Said, number: int) -> dict[str, Any]:
        if said.call is not None:
            return {"tool_calls": [{"index": number, **self._call(said.call)}]}
        if said.reasoning:
            return {"reasoning_content": said.reasoning}
        return {"content": said.content}

    def _call(self, call: ToolCall) -> dict[str, Any]:
        arguments = arguments_from_content(call.name, call.content, self._specs.get(call.name))
        function = {"name": call.name, "arguments": arguments}
        return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}

    def _logprobs(self, tokens: Sequence[Token]) -> list[dict[str, Any]]:
        return [
            {
                **self._named(t.token_id, t.logprob),
                "top_logprobs": [self._named(i, value) for i, value in t.top_logprobs],
            }
            for t in tokens
        ]

    def _named(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._engine.tokenizer.decode([token])
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _ids(tokens: Sequence[Token]) -> dict[str, list[int]]:
    return {
        "token_ids": [token.token_id for token in tokens],
        "model_versions": [token.model_version for token in tokens],
    }
