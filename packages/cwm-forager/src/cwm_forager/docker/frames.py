"""What the engine sends of a program's output: frames, each of one stream."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

STDOUT, STDERR = 1, 2
_HEAD, _CHUNK = struct.Struct(">BxxxL"), 2**16


def frames(stream: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the outputs of a program, as (stream, chunk), to their end.

    `stream` is what the SDK gives with ``socket=True``. Output that comes together with the head of
    the engine's answer lies in the answer's buffer, which the SDK's own functions pass over.
    """
    source = _Source(stream)
    while len(head := source.exactly(_HEAD.size)) == _HEAD.size:
        kind, left = _HEAD.unpack(head)
        while left and (chunk := source.some(min(left, _CHUNK))):
            yield kind, chunk
            left -= len(chunk)


class _Source:
    def __init__(self, stream: Any) -> None:
        response = getattr(stream, "_response", None)
        buffered = getattr(getattr(getattr(response, "raw", None), "_fp", None), "fp", None)
        if isinstance(buffered, io.BufferedReader):
            self.some: Callable[[int], bytes] = buffered.read1
        else:
            self.some = getattr(stream, "recv", None) or stream.read

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count and (chunk := self.some(count - len(data))):
            data += chunk
        return data
