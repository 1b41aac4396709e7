"""Frames over a stream socket: four bytes of length, then the content."""

from __future__ import annotations

import socket

MOST_BYTES = 32 * 2**20


class ClosedError(ConnectionError):
    """The other side is gone, or sends what no frame can be."""


def send(stream: socket.socket, content: bytes) -> None:
    """Send a frame; raises `ClosedError` when nobody listens."""
    try:
        stream.sendall(len(content).to_bytes(4, "big") + content)
    except OSError as error:
        raise ClosedError(str(error)) from None


def receive(stream: socket.socket) -> bytes:
    """Return the next frame; raises `ClosedError` at the end and for one that is too large."""
    size = int.from_bytes(_exactly(stream, 4), "big")
    if size > MOST_BYTES:
        raise ClosedError(f"a frame of {size} bytes")
    return _exactly(stream, size)


def _exactly(stream: socket.socket, size: int) -> bytes:
    parts, missing = [], size
    while missing:
        try:
            part = stream.recv(min(missing, 1 << 20))
        except OSError as error:
            raise ClosedError(str(error)) from None
        if not part:
            raise ClosedError("the other side is gone")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
