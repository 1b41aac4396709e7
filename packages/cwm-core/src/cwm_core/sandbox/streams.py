"""The streams of a process: read and written without blocking it, and in bounds."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


class Kept:
    """The first bytes of a stream; the rest is read and dropped, so that nobody blocks."""

    def __init__(self, most: int) -> None:
        self.kept, self._most, self.truncated = bytearray(), most, False

    def take(self, chunk: bytes) -> None:
        """Keep what there is room for."""
        room = self._most - len(self.kept)
        self.kept += chunk[:room]
        self.truncated |= len(chunk) > room

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Take everything up to the end of a stream."""
        while chunk := await stream.read(65536):
            self.take(chunk)


async def feed(stream: asyncio.StreamWriter | None, content: bytes) -> None:
    """Write everything and close; a reader that leaves early is fine."""
    if stream is None:
        return
    with contextlib.suppress(ConnectionError):
        stream.write(content)
        await stream.drain()
    stream.close()


async def settle(streams: asyncio.Future[Any], timeout_s: float = 5) -> None:
    """Read what is left; a process that escaped may hold a pipe open."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await streams
