"""Cuts wire text or token ids into segments: special tokens and the plain text between them."""

from __future__ import annotations

import json
import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

from cwm_core.errors import CodecError
from cwm_core.text.special_tokens import SPECIAL_PATTERN

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

Report = Callable[[CodecError], None]
"""What is done with a deviation: strict parsing raises it, lenient parsing keeps it."""


def strictly(error: CodecError) -> None:
    """Raise the error: the strict `Report`."""
    raise error


def escape_specials(quoted: str) -> str:
    """Write the ``<`` of special-token names in a JSON text as an escape."""
    if "<|" not in quoted:
        return quoted
    return SPECIAL_PATTERN.sub(lambda match: "\\u003c" + match[0][1:], quoted)


def quote_for_text(value: str) -> str:
    """Return the JSON string of a value in wire text, where special-token names are escaped."""
    return escape_specials(encode_basestring_ascii(value))


@dataclass(frozen=True, slots=True)
class Segment:
    """A special token (`special` is its name) or a run of plain text.

    `offset` and `end` count characters of text or tokens; `locate` turns an index into `text`
    into an offset.
    """

    text: str
    special: str | None
    offset: int
    end: int
    locate: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Wire:
    """A cut input: its segments, its length as an offset, and how it quotes JSON strings."""

    segments: tuple[Segment, ...]
    end: int
    quote: Callable[[str], str]


def _text_segments(text: str) -> Iterator[Segment]:
    position = 0
    for match in SPECIAL_PATTERN.finditer(text):
        start = match.start()
        if start > position:
            yield Segment(text[position:start], None, position, start, position.__add__)
        yield Segment(match[0], match[0], start, match.end(), start.__add__)
        position = match.end()
    if position < len(text):
        yield Segment(text[position:], None, position, len(text), position.__add__)


def cut_text(text: str) -> Wire:
    """Cut wire text at the names of special tokens."""
    return Wire(tuple(_text_segments(text)), len(text), quote_for_text)


def as_text(data: str | bytes, report: Report) -> str:
    """Return text; reports bytes that are not UTF-8 and lone surrogates."""
    try:
        if isinstance(data, bytes):
            return data.decode()
        data.encode()
    except UnicodeError as error:
        where = error.start if isinstance(error, UnicodeDecodeError | UnicodeEncodeError) else 0
        report(CodecError("what is no Unicode text", offset=where, expected="UTF-8 text"))
        if isinstance(data, bytes):
            return data.decode(errors="replace")
        return data.encode(errors="replace").decode()
    return data


def _plain_segment(ids: list[int], offset: int, tokenizer: Tokenizer) -> Segment:
    def locate(index: int) -> int:
        """Return the offset of the token that completes the character at `index`."""
        counts = range(len(ids) + 1)
        count = bisect_left(counts, index + 1, key=lambda n: len(tokenizer.decode(ids[:n])))
        return offset + count - 1

    return Segment(tokenizer.decode(ids), None, offset, offset + len(ids), locate)


def _token(value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return -1


def _checked(ids: Iterable[int], size: int, report: Report) -> list[int]:
    """Return the ids; reports what is no id and puts -1 in its place."""
    checked = [_token(value) for value in ids]
    for offset, token in enumerate(checked):
        if not 0 <= token < size:
            checked[offset] = -1
            report(
                CodecError(
                    "a token id outside the vocabulary",
                    offset=offset,
                    expected=f"an id from 0 to {size - 1}",
                )
            )
    return checked


def cut_ids(ids: Iterable[int], tokenizer: Tokenizer, report: Report) -> Wire:
    """Cut token ids at the special ones; reports ids outside the vocabulary."""
    checked = _checked(ids, tokenizer.vocab_size, report)
    names = tokenizer.special_names
    segments: list[Segment] = []
    start = 0
    for offset, token in enumerate(checked):
        name = names.get(token)
        if name is None:
            continue
        if offset > start:
            segments.append(_plain_segment(checked[start:offset], start, tokenizer))
        segments.append(Segment(name, name, offset, offset + 1, offset.__add__))
        start = offset + 1
    if start < len(checked):
        segments.append(_plain_segment(checked[start:], start, tokenizer))
    return Wire(tuple(segments), len(checked), encode_basestring_ascii)


def check_canonical(ids: Sequence[int], wire: Wire, tokenizer: Tokenizer) -> None:
    """Raise `CodecError` where the ids of a text are not those that the tokenizer gives it."""
    plain = [segment for segment in wire.segments if segment.special is None]
    for segment, expected in zip(plain, tokenizer.encode_cached([s.text for s in plain])):
        given = tuple(ids[segment.offset : segment.end])
        if given == expected:
            continue
        differing = (i for i, (a, b) in enumerate(zip(given, expected)) if a != b)
        index = next(differing, min(len(given), len(expected)))
        raise CodecError(
            "a text is split into other tokens than the tokenizer's",
            offset=segment.offset + index,
            expected=f"the token ids of {json.dumps(segment.text[:40])}",
        )
