"""The wire format of execution traces: rendering to text and token ids, and parsing back.

::

    <|begin_of_text|><|trace_context_start|>CONTEXT<|frame_sep|>
    <|call_sep|>LOCALS<|action_sep|>SOURCE<|frame_sep|>
    <|line_sep|>LOCALS<|action_sep|>SOURCE<|frame_sep|>
    <|return_sep|><|action_sep|>SOURCE<|arg_sep|>VALUE<|frame_sep|>
    <|exception_sep|><|action_sep|>SOURCE<|arg_sep|>VALUE<|frame_sep|>
    <|end_of_text|>

without newlines between frames. LOCALS is a JSON object of strings, diff-coded (see
`cwm_core.trace.diff`), VALUE a JSON string, both as `json.dumps` writes them by default; SOURCE is
one source line with its indentation and newline; CONTEXT is the program as it is. A trace that was
cut off has no end token. In token ids each text is encoded on its own and never yields special
tokens. In text, the names of special tokens inside LOCALS and VALUE are escaped (their ``<`` as
``\\u003c``); in CONTEXT and SOURCE nothing can escape them, so such a trace has only an id form.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cwm_core.errors import CodecError
from cwm_core.text.special_tokens import FRAME_SEP, SPECIAL_PATTERN
from cwm_core.trace.diff import DiffEncoder
from cwm_core.trace.frames import Frame, Trace
from cwm_core.trace.lexer import (
    Report,
    Wire,
    as_text,
    check_canonical,
    cut_ids,
    cut_text,
    escape_specials,
    strictly,
)
from cwm_core.trace.parse import Reader
from cwm_core.trace.pieces import Piece, Role, context_pieces, frame_pieces, pieces

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

__all__ = [
    "Continuation",
    "EncodedTrace",
    "LenientTrace",
    "Piece",
    "Role",
    "parse_frames",
    "parse_ids",
    "parse_lenient",
    "parse_text",
    "pieces",
    "prompt_ids",
    "render_ids",
    "render_text",
]

_JSON_ROLES = (Role.STATE, Role.VALUE)


@dataclass(frozen=True, slots=True)
class EncodedTrace:
    """Token ids of a trace, with three parallel lists.

    `roles` are `Role` values. `frame_index` is -1 in the context (its separator included) and the
    number of frames at the end token. `prompt_length` counts the tokens through the separator of
    the first call frame: what a model is given before it predicts.
    """

    ids: list[int]
    roles: list[int]
    frame_index: list[int]
    prompt_length: int


@dataclass(frozen=True, slots=True)
class Continuation:
    """Frames without a context; `complete` when the end token follows them."""

    frames: tuple[Frame, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class LenientTrace:
    """What could be read of a trace, and every deviation from the format, in order.

    A damaged frame that has an event token is among the frames with what could be read of it: its
    other fields are empty. `context` is None for a bare continuation.
    """

    frames: tuple[Frame, ...]
    problems: tuple[CodecError, ...]
    complete: bool
    context: str | None = None


def _wire_text(piece: Piece) -> str:
    if piece.special is not None:
        return piece.text
    if piece.role in _JSON_ROLES:
        return escape_specials(piece.text)
    found = SPECIAL_PATTERN.search(piece.text)
    if found:
        raise CodecError(
            f"the {piece.role.name.lower()} (frame {piece.frame}) holds {found[0]}, which text"
            " cannot tell from the token,",
            offset=piece.frame,
            expected="text without names of special tokens (the offset counts frames)",
            hint="token ids can say it: use render_ids",
        )
    return piece.text


def render_text(trace: Trace, *, diff: bool = True) -> str:
    """Return the wire format as text; raises `CodecError` as `pieces` does."""
    return "".join(map(_wire_text, pieces(trace, diff=diff)))


def encode_pieces(items: Sequence[Piece], tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """Return the token ids of each piece; each text is encoded on its own."""
    special = tokenizer.special_ids
    texts = iter(tokenizer.encode_cached([p.text for p in items if p.special is None]))
    return [next(texts) if p.special is None else (special[p.special],) for p in items]


def render_ids(trace: Trace, tokenizer: Tokenizer, *, diff: bool = True) -> EncodedTrace:
    """Return the wire format as token ids; raises `CodecError` as `pieces` does."""
    items = pieces(trace, diff=diff)
    ids: list[int] = []
    roles: list[int] = []
    frame_index: list[int] = []
    prompt_length = 0
    for piece, tokens in zip(items, encode_pieces(items, tokenizer)):
        count = len(tokens)
        ids += tokens
        roles += [int(piece.role)] * count
        frame_index += [piece.frame] * count
        if piece.frame <= 0 and piece.special == FRAME_SEP:
            prompt_length = len(ids)
    return EncodedTrace(ids, roles, frame_index, prompt_length)


def prompt_ids(context: str, call_frame: Frame, tokenizer: Tokenizer) -> list[int]:
    """Return what a model is given to predict a trace: the context and the entry's call frame."""
    items = [*context_pieces(context), *frame_pieces(call_frame, 0, DiffEncoder())]
    return [token for tokens in encode_pieces(items, tokenizer) for token in tokens]


def _cut(data: Iterable[int] | str | bytes, tokenizer: Tokenizer | None, report: Report) -> Wire:
    if isinstance(data, str | bytes):
        return cut_text(as_text(data, report))
    if tokenizer is None:
        raise TypeError("token ids need their tokenizer")
    return cut_ids(data, tokenizer, report)


def _parse_trace(wire: Wire, diff: bool | None, complete: bool | None) -> Trace:
    reader = Reader(wire, strictly, diff=diff)
    context = reader.context()
    frames = reader.frames(first=True)
    ended = reader.end(empty=not frames)
    if complete is not None and ended != complete:
        raise CodecError(
            "the trace ends" if ended else "the trace is cut off",
            offset=wire.end,
            expected="<|end_of_text|>" if complete else "a trace that was cut off",
        )
    return Trace(context, tuple(frames), ended)


def parse_text(
    text: str | bytes, *, diff: bool | None = True, complete: bool | None = None
) -> Trace:
    """Parse wire text strictly; the frames have complete locals.

    `diff` says how locals must be coded: True as `render_text` codes them, False not at all, None
    either way; what is accepted with True or False is what `render_text` gives back, character by
    character. `complete` demands (True) or forbids (False) the end token. Raises `CodecError` with
    the offset in characters (bytes, if the input is not UTF-8) and what was expected there.
    """
    return _parse_trace(_cut(text, None, strictly), diff, complete)


def parse_ids(
    ids: Sequence[int],
    tokenizer: Tokenizer,
    *,
    diff: bool | None = True,
    complete: bool | None = None,
) -> Trace:
    """Parse token ids strictly, as `parse_text` does text; offsets count tokens.

    The ids of each text must be the ones that the tokenizer gives it.
    """
    wire = _cut(ids, tokenizer, strictly)
    trace = _parse_trace(wire, diff, complete)
    check_canonical(ids, wire, tokenizer)
    return trace


def parse_frames(
    data: Sequence[int] | str | bytes,
    tokenizer: Tokenizer | None = None,
    *,
    before: Iterable[Frame] = (),
    diff: bool | None = True,
) -> Continuation:
    """Parse a bare continuation strictly: whole frames, then possibly the end token.

    `before` are the frames that precede it (locals complete), which ``".."`` may refer to. Other
    arguments and errors are those of `parse_text` and `parse_ids`.
    """
    wire = _cut(data, tokenizer, strictly)
    reader = Reader(wire, strictly, diff=diff, before=before)
    frames = reader.frames(first=False)
    result = Continuation(tuple(frames), reader.end(empty=False))
    if tokenizer is not None and not isinstance(data, str | bytes):
        check_canonical(data, wire, tokenizer)
    return result


def parse_lenient(
    data: Sequence[int] | str | bytes,
    tokenizer: Tokenizer | None = None,
    *,
    before: Iterable[Frame] = (),
    diff: bool | None = None,
) -> LenientTrace:
    """Parse what a model wrote: a whole trace or a bare continuation of `before`.

    Never raises for what `data` holds: every deviation becomes an entry of `problems`. How ids
    split texts, and whether unchanged locals are spelled out, is no deviation by default.
    """
    problems: list[CodecError] = []
    reader = Reader(
        _cut(data, tokenizer, problems.append), problems.append, diff=diff, before=before
    )
    context = reader.context() if reader.has_context else None
    frames = reader.frames(first=context is not None)
    complete = reader.end(empty=context is not None and not frames)
    return LenientTrace(tuple(frames), tuple(problems), complete, context)
