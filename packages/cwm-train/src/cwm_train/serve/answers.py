"""Parts of answers that completions and chat share."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from cwm_core.errors import CwmError
from cwm_train.serve.errors import error_body

Item = TypeVar("Item")
CLIENT_GONE = 499
"""The status that nginx logs for it; nobody reads the answer."""


def frame(kind: str, prefix: str, model: str) -> dict[str, Any]:
    """Return the fields that every answer begins with."""
    now = int(time.time())
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": now, "model": model}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Return the ``usage`` object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


async def merged(streams: Sequence[AsyncIterator[Item]]) -> AsyncIterator[tuple[int, Item]]:
    """Yield the items of all streams with the stream's number, as they come."""
    items = asyncio.Queue[tuple[int, Item | None]]()

    async def drain(number: int, stream: AsyncIterator[Item]) -> None:
        try:
            async for item in stream:
                items.put_nowait((number, item))
        finally:
            items.put_nowait((number, None))

    tasks = [asyncio.create_task(drain(i, stream)) for i, stream in enumerate(streams)]
    try:
        open_streams = len(tasks)
        while open_streams:
            number, item = await items.get()
            if item is None:
                open_streams -= 1
                await tasks[number]
            else:
                yield number, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def event_stream(chunks: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Return server-sent events, ended by ``[DONE]``; an error is the last event but that."""

    async def lines() -> AsyncIterator[str]:
        try:
            async for chunk in chunks:
                yield f"data: {json.dumps(chunk)}\n\n"
        except CwmError as error:
            yield f"data: {json.dumps(error_body(error)[1])}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


async def unless_gone(request: Request, work: Callable[[], Awaitable[Any]]) -> Any:
    """Do the work, but give it up when the client disconnects."""
    task = asyncio.ensure_future(work())
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return Response(status_code=CLIENT_GONE)
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
