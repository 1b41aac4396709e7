"""``POST /v1/completions``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from cwm_train.generate.engine import LocalEngine
from cwm_train.generate.request import Token, check_params, check_prompt
from cwm_train.generate.score import LocalScores
from cwm_train.serve.answers import frame, merged, usage
from cwm_train.serve.generation import Choice, Piece, pieces, whole
from cwm_train.serve.protocol import CompletionRequest

TOKEN_PREFIX = "token_id:"
Row = tuple[int, float | None, dict[str, float] | None]
"""A token as ``logprobs`` shows it: id, log-probability, and the likeliest ones."""


class Completions:
    """The completions that one request asked for."""

    def __init__(self, engine: LocalEngine, request: CompletionRequest, model: str) -> None:
        self._engine, self._request, self._model = engine, request, model
        request.check()
        self._prompts = request.prompts(engine.tokenizer)
        self._each = [(prompt, i) for prompt in self._prompts for i in range(request.n)]
        room = 1 if request.max_tokens else 0
        for prompt in self._prompts:
            check_prompt(prompt, engine.model.config, room)
        check_params(self._params(0))
        self._frame = frame("text_completion", "cmpl", model)
        self._prompt_tokens = sum(map(len, self._prompts))

    async def answer(self) -> dict[str, Any]:
        """Return the whole answer."""
        choices = await asyncio.gather(
            *(self._choice(i, prompt, copy) for i, (prompt, copy) in enumerate(self._each))
        )
        generated = sum(choice.pop("_tokens") for choice in choices)
        return {
            **self._frame,
            "choices": choices,
            "usage": usage(self._prompt_tokens, generated),
            "model_version": self._engine.stats.version,
        }

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the answer piece by piece."""
        generated, lengths = 0, [0] * len(self._each)
        streams = [self._pieces(prompt, copy) for prompt, copy in self._each]
        async for index, piece in merged(streams):
            generated += len(piece.tokens)
            choice = {
                "index": index,
                "text": piece.text,
                "finish_reason": piece.finish_reason,
                "logprobs": self._logprobs(_rows(self, piece.tokens), lengths[index]),
            }
            lengths[index] += len(piece.text)
            if self._request.return_token_ids:
                choice |= _ids(piece.tokens)
            yield {**self._frame, "choices": [choice]}
        if self._request.tells_usage:
            total = usage(self._prompt_tokens, generated)
            yield {**self._frame, "choices": [], "usage": total}

    def name(self, token: int) -> str:
        """Return a token's text, or its id where the request wants that."""
        if self._request.return_tokens_as_token_ids:
            return f"{TOKEN_PREFIX}{token}"
        return self._engine.tokenizer.decode([token])

    def _params(self, copy: int) -> Any:
        request, engine = self._request, self._engine
        ends = engine.model.config.eos_token_id
        return request.sampling(engine.tokenizer, ends, copy, max(request.max_tokens, 1))

    def _pieces(self, prompt: list[int], copy: int) -> AsyncIterator[Piece]:
        return pieces(
            self._engine,
            prompt,
            self._params(copy),
            tops=self._request.logprobs or 0,
            stops=self._request.stops(),
            skip_special=self._request.skip_special_tokens,
        )

    async def _choice(self, index: int, prompt: list[int], copy: int) -> dict[str, Any]:
        request, tokenizer = self._request, self._engine.tokenizer
        scored = request.echo and request.logprobs is not None
        scores = None
        if scored or request.prompt_logprobs is not None:
            scores = await self._engine.score(prompt)
        made = await whole(self._pieces(prompt, copy)) if request.max_tokens else Choice()
        text, rows = made.text, _rows(self, made.tokens)
        if request.echo:
            skip = request.skip_special_tokens
            text = tokenizer.decode(prompt, skip_special=skip) + text
            rows = _prompt_rows(self, prompt, scores) + rows
        choice: dict[str, Any] = {
            "index": index,
            "text": text,
            "finish_reason": made.finish_reason,
            "logprobs": self._logprobs(rows, 0),
            "_tokens": len(made.tokens),
        }
        if request.return_token_ids:
            choice |= {**_ids(made.tokens), "prompt_token_ids": prompt}
        if request.prompt_logprobs is not None and scores is not None:
            choice["prompt_logprobs"] = prompt_logprobs(prompt, scores)
        return choice

    def _logprobs(self, rows: list[Row], offset: int) -> dict[str, Any] | None:
        if self._request.logprobs is None:
            return None
        offsets = []
        for token, _, _ in rows:
            offsets.append(offset)
            offset += len(self._engine.tokenizer.decode([token]))
        return {
            "tokens": [self.name(token) for token, _, _ in rows],
            "token_logprobs": [value for _, value, _ in rows],
            "top_logprobs": [tops for _, _, tops in rows] if self._request.logprobs else None,
            "text_offset": offsets,
        }


def _rows(names: Completions, tokens: list[Token] | tuple[Token, ...]) -> list[Row]:
    return [
        (t.token_id, t.logprob, {names.name(i): value for i, value in t.top_logprobs})
        for t in tokens
    ]


def _prompt_rows(names: Completions, prompt: list[int], scores: LocalScores | None) -> list[Row]:
    """Return the prompt's tokens; of the likeliest ones, the first alone is known."""
    if scores is None:
        return [(token, None, None) for token in prompt]
    known = zip(prompt, scores.logprobs, scores.greedy_ids, scores.greedy_logprobs)
    rows: list[Row] = [(t, own, {names.name(best): top}) for t, own, best, top in known]
    return [(prompt[0], None, None), *rows[1:]]


def _ids(tokens: list[Token] | tuple[Token, ...]) -> dict[str, list[int]]:
    return {
        "token_ids": [token.token_id for token in tokens],
        "model_versions": [token.model_version for token in tokens],
    }


def prompt_logprobs(ids: list[int], scores: LocalScores) -> list[dict[str, Any] | None]:
    """Return vLLM's ``prompt_logprobs``: per token, the token itself and the likeliest one."""
    rows = zip(ids, scores.logprobs, scores.greedy_ids, scores.greedy_logprobs)
    known: list[dict[str, Any] | None] = [
        {str(best): {"logprob": value}, str(token): {"logprob": own}}
        for token, own, best, value in list(rows)[1:]
    ]
    return [None, *known]
