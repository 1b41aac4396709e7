"""Errors as OpenAI's servers tell them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cwm_core.engine.base import EngineError
from cwm_core.errors import CodecError, ConfigError, ContextLengthError, CwmError, DataError


class ApiError(CwmError):
    """An error with its HTTP status, and the parameter at fault where there is one."""

    def __init__(
        self, message: str, hint: str | None = None, status: int = 400, param: str | None = None
    ) -> None:
        super().__init__(message, hint)
        self.status, self.param = status, param


_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
}


def error_body(error: CwmError) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and OpenAI's error object for an error."""
    asked_wrongly = isinstance(error, ConfigError | DataError | CodecError)
    status, param, code = (400 if asked_wrongly else 500), None, None
    if isinstance(error, ApiError):
        status, param = error.status, error.param
    if isinstance(error, ContextLengthError):
        code = "context_length_exceeded"
    if isinstance(error, EngineError):
        status = 500
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return status, {"error": {"message": str(error), "type": kind, "param": param, "code": code}}


def install(app: FastAPI) -> None:
    """Let the application answer every error in OpenAI's format."""

    @app.exception_handler(CwmError)
    async def refused(request: Request, error: CwmError) -> JSONResponse:
        status, body = error_body(error)
        return JSONResponse(body, status)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "body"
        status, body = error_body(ApiError(f"{where}: {first['msg']}", param=where))
        return JSONResponse(body, status)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        problem = ApiError(f"{request.method} {request.url.path}: {error.detail}")
        problem.status = error.status_code
        status, body = error_body(problem)
        return JSONResponse(body, status)
