"""The HTTP application: its routes, and nothing of what they do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import PlainTextResponse

from cwm_core.dialog.openai import tool_specs
from cwm_core.dialog.template import ChatTemplate, ReasoningStyle
from cwm_core.errors import DataError
from cwm_train.generate.engine import LocalEngine
from cwm_train.serve import errors, metrics
from cwm_train.serve.access import Access
from cwm_train.serve.answers import event_stream, unless_gone
from cwm_train.serve.chat import Chat, chat_prompt
from cwm_train.serve.completions import Completions
from cwm_train.serve.errors import ApiError
from cwm_train.serve.protocol import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    TokenizeRequest,
    UpdateRequest,
)


def create_app(
    engine: LocalEngine,
    model_name: str,
    access: Access | None = None,
    style: ReasoningStyle = ReasoningStyle.TAG,
) -> FastAPI:
    """Return the application; it closes the engine when it shuts down."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.close()

    access = access or Access()
    app = FastAPI(title="cwm serve", lifespan=lifespan)
    errors.install(app)
    app.include_router(_open_routes(engine))
    app.include_router(_model_routes(engine, model_name, style), dependencies=[_by(access.check)])
    app.include_router(_admin_routes(engine), dependencies=[_by(access.check_admin)])
    return app


def _by(check: Any) -> Any:
    async def checked(request: Request) -> None:
        check(request)

    return Depends(checked)


def _open_routes(engine: LocalEngine) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> dict[str, Any]:
        if not engine.alive:
            raise ApiError("the engine has stopped", "start the server again", status=503)
        return {"status": "ok"}

    @router.get("/metrics")
    async def counters() -> PlainTextResponse:
        return PlainTextResponse(metrics.render(engine.stats), media_type=metrics.CONTENT_TYPE)

    return router


def _model_routes(engine: LocalEngine, model_name: str, style: ReasoningStyle) -> APIRouter:
    router, created = APIRouter(), int(time.time())

    def check_model(name: str) -> None:
        if name not in ("", model_name):
            raise ApiError(
                f"the model {name!r} is not served",
                f"use {model_name!r}",
                status=404,
                param="model",
            )

    def card() -> dict[str, Any]:
        return {
            "id": model_name,
            "object": "model",
            "created": created,
            "owned_by": "cwm",
            "max_model_len": engine.model.config.max_position_embeddings,
            "model_version": engine.stats.version,
        }

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [card()]}

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        check_model(name)
        return card()

    @router.post("/v1/completions")
    async def completions(body: CompletionRequest, request: Request) -> Any:
        check_model(body.model)
        work = Completions(engine, body, model_name)
        return (
            event_stream(work.chunks()) if body.stream else await unless_gone(request, work.answer)
        )

    @router.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Any:
        check_model(body.model)
        work = Chat(engine, body, model_name, style)
        return (
            event_stream(work.chunks()) if body.stream else await unless_gone(request, work.answer)
        )

    @router.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        if (body.prompt is None) == (body.messages is None):
            raise DataError("give either prompt or messages")
        if body.messages is None:
            ids = engine.tokenizer.encode(body.prompt or "", allow_special=body.parse_special)
        else:
            template = ChatTemplate(style, **body.chat_template_kwargs)
            specs = tool_specs(body.tools or [])
            ids = chat_prompt(engine, body.messages, specs, template, body.add_generation_prompt)
        most = engine.model.config.max_position_embeddings
        return {"count": len(ids), "max_model_len": most, "tokens": ids}

    @router.post("/detokenize")
    async def detokenize(body: DetokenizeRequest) -> dict[str, str]:
        return {"prompt": engine.tokenizer.decode(body.tokens)}

    return router


def _admin_routes(engine: LocalEngine) -> APIRouter:
    router = APIRouter()

    @router.post("/update_weights_from_disk")
    async def update(body: UpdateRequest) -> dict[str, Any]:
        version = body.weight_version
        if version is None:
            version = engine.stats.version + 1
        started = time.monotonic()
        await engine.update_weights(Path(body.model_path), version)
        took = time.monotonic() - started
        message = f"weights of version {version} in use after {took:.3f} s"
        return {"success": True, "message": message, "model_version": version}

    return router
