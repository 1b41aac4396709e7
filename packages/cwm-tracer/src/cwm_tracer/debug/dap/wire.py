"""Messages on a stream, as the protocol's base says: headers, an empty line, JSON.

https://microsoft.github.io/debug-adapter-protocol/overview (section "Base protocol")
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Protocol

from cwm_core.errors import RunError

MOST_BYTES = 64 * 2**20
"""Largest message that is taken."""


class ProtocolError(RunError):
    """What came is no message of the protocol."""


class Writer(Protocol):
    """The writing end of a stream, such as `asyncio.StreamWriter`."""

    def write(self, data: bytes, /) -> None:
        """Send bytes, or keep them to be sent."""
        ...

    async def drain(self) -> None:
        """Wait until there is room for more."""
        ...


async def read_message(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next message, None at the end of the stream.

    Raises:
        ProtocolError: the header has no usable length, or the body is no JSON object.
    """
    length = None
    while True:
        try:
            line = await reader.readline()
        except ValueError as error:
            raise ProtocolError("a header without end") from error
        if not line:
            return None
        if line in (b"\r\n", b"\n"):
            if length is None:
                continue
            break
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = _length(value)
    try:
        return _object(await reader.readexactly(length))
    except asyncio.IncompleteReadError:
        return None


def encode(message: dict[str, Any]) -> bytes:
    """Return a message with its header."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


def _length(value: bytes) -> int:
    try:
        length = int(value)
    except ValueError:
        length = -1
    if not 0 <= length <= MOST_BYTES:
        raise ProtocolError(
            f"a message of length {value.strip().decode('latin-1')!r}", f"0 to {MOST_BYTES} bytes"
        )
    return length


def _object(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a message that is no JSON: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError("a message that is no JSON object")
    return message
