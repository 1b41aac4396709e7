"""A trace as a sequence of pieces: special tokens and plain text between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from cwm_core.errors import CodecError
from cwm_core.text import special_tokens as st
from cwm_core.trace.diff import DiffEncoder, check_literal
from cwm_core.trace.frames import Event, Frame, Trace

EVENT_TOKENS: dict[Event, str] = {
    Event.CALL: st.CALL_SEP,
    Event.LINE: st.LINE_SEP,
    Event.RETURN: st.RETURN_SEP,
    Event.EXCEPTION: st.EXCEPTION_SEP,
}


class Role(IntEnum):
    """What a piece, or each of its tokens, is part of."""

    CONTEXT = 0
    """Start tokens and source context."""
    EVENT = 1
    """The event token of a frame."""
    STATE = 2
    """Locals of a call or line frame."""
    ACTION = 3
    """Source line."""
    VALUE = 4
    """Returned value or exception."""
    SEPARATOR = 5
    """Tokens between the parts of a frame, and the one that ends it or the context."""
    END = 6
    """The end-of-text token."""


class Piece(NamedTuple):
    """A special token (`special` is its name and equals `text`) or a run of plain text.

    `frame` is the index of the frame; -1 in the context; the number of frames for the end token.
    """

    text: str
    special: str | None
    role: Role
    frame: int


def _special(name: str, role: Role, frame: int) -> Piece:
    return Piece(name, name, role, frame)


def _fail(index: int, problem: str, expected: str) -> CodecError:
    return CodecError(f"frame {index} {problem}", offset=index, expected=expected)


def check_unicode(text: str, index: int, what: str) -> None:
    """Raise `CodecError` when a text holds lone surrogates, which UTF-8 and ids cannot say."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CodecError(
            f"{what} (frame {index}) holds a lone surrogate at its character {error.start}",
            offset=index,
            expected="text that UTF-8 can encode (the offset counts frames)",
        ) from None


def locals_json(index: int, values: Mapping[str, str]) -> str:
    """Return the LOCALS text of frame `index`; raises `CodecError` for what is not text."""
    for name, value in values.items():
        if type(name) is not str or type(value) is not str:
            raise _fail(index, f"has a local {name!r} that is not text", "the repr text of a value")
        check_unicode(name, index, "the name of a local")
        check_unicode(value, index, f"the local {name!r}")
    return json.dumps(values if type(values) is dict else dict(values))


def source_text(index: int, source: str) -> str:
    """Return the SOURCE text of frame `index`: one line that ends with a newline."""
    check_unicode(source, index, "the source line")
    line = source if source.endswith("\n") else source + "\n"
    if line.count("\n") > 1:
        raise _fail(index, "has a source of several lines", "one source line")
    return line


def _check_shape(index: int, frame: Frame) -> None:
    if frame.event in (Event.CALL, Event.LINE):
        if frame.locals is None or frame.value is not None:
            raise _fail(index, f"is a {frame.event} frame", "locals and no value")
    elif frame.locals is not None or type(frame.value) is not str:
        raise _fail(index, f"is a {frame.event} frame", "a value and no locals")


def frame_pieces(frame: Frame, index: int, coder: DiffEncoder | None) -> Iterator[Piece]:
    """Yield the pieces of one frame, its separator included; `coder` None spells everything out."""
    _check_shape(index, frame)
    yield _special(EVENT_TOKENS[frame.event], Role.EVENT, index)
    if frame.locals is not None:
        check_literal(index, frame.locals)
    if coder is not None:
        values = coder.encode(frame.event, frame.locals or {})
    else:
        values = frame.locals or {}
    if frame.locals is not None:
        yield Piece(locals_json(index, values), None, Role.STATE, index)
    yield _special(st.ACTION_SEP, Role.SEPARATOR, index)
    yield Piece(source_text(index, frame.source), None, Role.ACTION, index)
    if frame.value is not None:
        check_unicode(frame.value, index, "the value")
        yield _special(st.ARG_SEP, Role.SEPARATOR, index)
        yield Piece(json.dumps(frame.value), None, Role.VALUE, index)
    yield _special(st.FRAME_SEP, Role.SEPARATOR, index)


def context_pieces(context: str) -> Iterator[Piece]:
    """Yield the pieces before the first frame."""
    check_unicode(context, -1, "the context")
    yield _special(st.BEGIN_OF_TEXT, Role.CONTEXT, -1)
    yield _special(st.TRACE_CONTEXT_START, Role.CONTEXT, -1)
    if context:
        yield Piece(context, None, Role.CONTEXT, -1)
    yield _special(st.FRAME_SEP, Role.SEPARATOR, -1)


def pieces(trace: Trace, *, diff: bool = True) -> list[Piece]:
    """Return the wire format of a trace as pieces; `diff=False` spells unchanged locals out.

    Raises `CodecError` (its offset is the index of the frame, -1 for the context) when the trace
    cannot be said in the format: a frame with the wrong fields, a value whose text is ``".."``, a
    source of several lines, a lone surrogate, a trace that does not start with a call.
    """
    frames = trace.frames
    if frames and frames[0].event is not Event.CALL:
        raise _fail(0, f"is a {frames[0].event} frame", "a call frame first")
    if trace.complete and not frames:
        raise _fail(0, "is missing", "a call frame in a complete trace")
    result = list(context_pieces(trace.context))
    coder = DiffEncoder() if diff else None
    for index, frame in enumerate(frames):
        result.extend(frame_pieces(frame, index, coder))
    if trace.complete:
        result.append(_special(st.END_OF_TEXT, Role.END, len(frames)))
    return result
