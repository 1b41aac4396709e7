"""What the recorder wrote, as one `Cut` per trace; whatever the bytes are, this does not raise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cwm_tracer.capture.stream import FIELD, RECORD
from cwm_tracer.collect.repository.runtime.sink import CHUNK


@dataclass(slots=True)
class Cut:
    """The records of a trace."""

    about: dict[str, Any]
    """What was called, by which test."""
    records: list[list[str]] = field(default_factory=list)
    """Fields of each code and event record."""
    end: dict[str, Any] | None = None
    """How it ended; None: the process died, or the root was never resumed."""


@dataclass(slots=True)
class Stream:
    """What one process recorded."""

    cuts: list[Cut] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    damaged: bool = False


def read_stream(data: bytes) -> Stream:
    """Read the content of a file; half a chunk at its end is left out."""
    stream = Stream()
    texts: dict[int, list[str]] = {}
    for number, text in _chunks(data):
        texts.setdefault(number, []).append(text)
    for number, parts in texts.items():
        try:
            _read_chunk(stream, number, "".join(parts))
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            stream.damaged = True
    return stream


def _chunks(data: bytes) -> Iterator[tuple[int, str]]:
    position = 0
    while position + CHUNK.size <= len(data):
        number, size = CHUNK.unpack_from(data, position)
        position += CHUNK.size
        if position + size > len(data):
            return
        yield number, data[position : position + size].decode("utf-8", "replace")
        position += size


def _read_chunk(stream: Stream, number: int, text: str) -> None:
    records = [record.split(FIELD) for record in text.split(RECORD) if record]
    if number == 0:
        stream.notes += [json.loads(fields[1]) for fields in records]
        return
    first, *others = records
    if first[0] != "m":
        raise ValueError(first[0])
    cut = Cut(json.loads(first[1]))
    for fields in others:
        if fields[0] == "x":
            cut.end = json.loads(fields[1])
        else:
            cut.records.append(fields)
    stream.cuts.append(cut)
