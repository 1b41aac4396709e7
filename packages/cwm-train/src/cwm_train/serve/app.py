"""The HTTP application: models, completions, health."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from cwm_core.engine.base import Completion
from cwm_core.errors import CwmError, DataError
from cwm_train.generate.engine import LocalEngine
from cwm_train.generate.score import LocalScores
from cwm_train.serve.protocol import CompletionRequest, TokenNames, cut_at_stop, prompt_logprobs


def create_app(engine: LocalEngine, model_name: str) -> FastAPI:
    """Return the application; it closes the engine when it shuts down."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.close()

    app = FastAPI(title="cwm serve", lifespan=lifespan)
    created = int(time.time())

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        card = {
            "id": model_name,
            "object": "model",
            "created": created,
            "owned_by": "cwm",
            "max_model_len": engine.model.config.max_position_embeddings,
        }
        return {"object": "list", "data": [card]}

    @app.post("/v1/completions")
    async def completions(request: CompletionRequest) -> dict[str, Any]:
        if request.model not in ("", model_name):
            raise _NotFoundError(
                f"the model {request.model!r} is not served", f"use {model_name!r}"
            )
        return await _complete(engine, request, model_name)

    @app.exception_handler(_NotFoundError)
    async def not_found(request: Request, error: _NotFoundError) -> JSONResponse:
        return _problem(404, error)

    @app.exception_handler(CwmError)
    async def refused(request: Request, error: CwmError) -> JSONResponse:
        return _problem(400, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return _problem(400, DataError(f"{where}: {first['msg']}"))

    return app


class _NotFoundError(CwmError):
    """A model that is not served."""


def _problem(status: int, error: CwmError) -> JSONResponse:
    body = {"message": str(error), "type": "invalid_request_error", "code": None, "param": None}
    return JSONResponse({"error": body}, status_code=status)


async def _complete(
    engine: LocalEngine, request: CompletionRequest, model_name: str
) -> dict[str, Any]:
    if request.stream:
        raise DataError("streaming is not available", "set stream to false")
    prompts = request.prompts(engine.tokenizer)
    each = [(prompt, copy) for prompt in prompts for copy in range(request.n)]
    choices = await asyncio.gather(
        *(_choice(engine, request, i, prompt, copy) for i, (prompt, copy) in enumerate(each))
    )
    prompt_tokens = sum(map(len, prompts))
    generated = sum(choice.pop("_tokens") for choice in choices)
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model_name,
        "choices": choices,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": prompt_tokens + generated,
        },
    }


async def _choice(
    engine: LocalEngine, request: CompletionRequest, index: int, prompt: list[int], copy: int
) -> dict[str, Any]:
    tokenizer = engine.tokenizer
    scored = (request.echo and request.logprobs is not None) or request.prompt_logprobs is not None
    scores = cast(LocalScores, await engine.score(prompt)) if scored else None
    completion = Completion((), (), "length")
    if request.max_tokens > 0:
        params = request.sampling(tokenizer, engine.model.config.eos_token_id, copy)
        completion = await engine.generate(prompt, params)
    ids = list(completion.token_ids)
    text = tokenizer.decode(ids, skip_special=request.skip_special_tokens)
    cut = cut_at_stop(text, request.stops())
    reason = completion.finish_reason if cut is None else "stop"
    shown_ids, values = ids, list[float | None](completion.logprobs)
    text = text if cut is None else cut
    if request.echo:
        text = tokenizer.decode(prompt, skip_special=request.skip_special_tokens) + text
        shown_ids = prompt + ids
        values = [None, *(scores.logprobs[1:] if scores else [None] * (len(prompt) - 1)), *values]
    names = TokenNames(tokenizer, request.return_tokens_as_token_ids)
    choice: dict[str, Any] = {
        "index": index,
        "text": text,
        "finish_reason": reason,
        "logprobs": None,
        "_tokens": len(ids),
    }
    if request.logprobs is not None:
        choice["logprobs"] = names.logprobs(shown_ids, values, scores if request.echo else None)
    if request.return_token_ids:
        choice |= {"token_ids": ids, "prompt_token_ids": prompt}
    if request.prompt_logprobs is not None and scores is not None:
        choice["prompt_logprobs"] = prompt_logprobs(prompt, scores)
    return choice
