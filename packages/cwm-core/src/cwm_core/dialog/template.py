r"""The chat format: rendering dialogs to text and token ids, and parsing back.

``<|begin_of_text|>``, then per message
``<|start_header_id|>ROLE<|end_header_id|>\n\nBODY<|eot_id|>``. Role, blank line and the parts of a
body are encoded on their own and never yield special tokens. An assistant's body is
``<think>\nREASONING\n</think>\nCONTENT`` or just CONTENT; in the token style of the SFT checkpoint
it is ``<|reasoning_thinking_start|>REASONING<|reasoning_thinking_end|>CONTENT``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from cwm_core.dialog.messages import ChatRole, Dialog, Message
from cwm_core.errors import CodecError
from cwm_core.text import special_tokens as st

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

THINK_START: Final = "<think>\n"
THINK_END: Final = "\n</think>\n"
_CLOSE: Final = "</think>"
_BLANK_LINE: Final = "\n\n"

REASONING_SYSTEM_PROMPT: Final = (
    "You are a helpful AI assistant. You always reason before responding, using the following"
    " format:\n\n<think>\nyour internal reasoning\n</think>\nyour external response"
)
"""What a system prompt starts with to turn CWM's reasoning mode on."""


class Part(IntEnum):
    """What a piece, or each of its tokens, is part of."""

    BEGIN = 0
    """The begin-of-text token."""
    HEADER = 1
    """The role with its tokens and the blank line."""
    PREFIX = 2
    """The opening of the reasoning, which a model is given."""
    REASONING = 3
    """Reasoning with its closing."""
    CONTENT = 4
    """Everything else that is said."""
    END = 5
    """The end-of-turn token."""


class Piece(NamedTuple):
    """A special token (`special` is its name and equals `text`) or a run of plain text.

    `message` is the index of the message, -1 at the begin-of-text token.
    """

    text: str
    special: str | None
    part: Part
    message: int


class ReasoningStyle(StrEnum):
    """How reasoning is marked: by ``<think>`` tags, or by special tokens."""

    TAG = "tag"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class EncodedDialog:
    """Token ids of a dialog; `parts` (values of `Part`) and `message_index` are parallel to them.

    `roles` has the role of each message, and the assistant's for a generation prompt.
    """

    ids: list[int]
    parts: list[int]
    message_index: list[int]
    roles: tuple[ChatRole, ...]

    def loss_mask(self, roles: Collection[ChatRole] = (ChatRole.ASSISTANT,)) -> list[bool]:
        """Mark what the authors `roles` wrote, their end tokens included.

        Headers and the opening of the reasoning are given, never predicted.
        """
        return [
            part >= Part.REASONING and self.roles[message] in roles
            for part, message in zip(self.parts, self.message_index)
        ]


def split_reasoning(body: str) -> tuple[str, str] | None:
    """Split an assistant's body into reasoning and content; None unless it has the exact form."""
    close = body.find(_CLOSE)
    start = close - 1
    if not body.startswith(THINK_START) or start < len(THINK_START):
        return None
    if not body.startswith(THINK_END, start):
        return None
    return body[len(THINK_START) : start], body[start + len(THINK_END) :]


def _error(index: int, message: str, expected: str, hint: str | None = None) -> CodecError:
    return CodecError(f"message {index} {message}", offset=index, expected=expected, hint=hint)


def _header_text(message: Message, index: int) -> str:
    if message.role is not ChatRole.TOOL:
        if message.tool is not None:
            raise _error(index, "names a tool", "a tool name on tool messages only")
        return message.role
    if not message.tool or message.tool != message.tool.strip() or "\n" in message.tool:
        raise _error(index, f"has the tool name {message.tool!r}", "a name in one line")
    return f"{message.role}: {message.tool}"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The chat format with its switches.

    `strip` removes outer whitespace from all content but that of tools, as CWM's code does.
    `enable_thinking` opens the reasoning in a generation prompt. `preserve_previous_think` keeps
    the reasoning of all messages; without it, only the dialog's last message shows its own.
    """

    style: ReasoningStyle = ReasoningStyle.TAG
    strip: bool = True
    enable_thinking: bool = True
    preserve_previous_think: bool = True

    def pieces(self, dialog: Dialog, *, prompt: bool = False) -> list[Piece]:
        """Return the wire format of a dialog as pieces.

        With `prompt`, an assistant's turn is left open: the last message, if it is an assistant's,
        stays without end token and is not stripped; else the header of a new one follows. Raises
        `CodecError` (its offset is the message's index) for what the format cannot say.
        """
        messages = dialog.messages
        result = [Piece(st.BEGIN_OF_TEXT, st.BEGIN_OF_TEXT, Part.BEGIN, -1)]
        for index, message in enumerate(messages):
            last = index == len(messages) - 1
            is_open = prompt and last and message.role is ChatRole.ASSISTANT
            result.extend(_header(_header_text(message, index), index))
            result.extend(self._body(message, index, last=last, is_open=is_open))
            if not is_open:
                result.append(Piece(st.EOT, st.EOT, Part.END, index))
        if prompt and not (messages and messages[-1].role is ChatRole.ASSISTANT):
            result.extend(_header(ChatRole.ASSISTANT, len(messages)))
            if self.enable_thinking:
                result.append(self._prefix(len(messages)))
        return result

    def _prefix(self, index: int) -> Piece:
        if self.style is ReasoningStyle.TAG:
            return Piece(THINK_START, None, Part.PREFIX, index)
        return Piece(st.REASONING_START, st.REASONING_START, Part.PREFIX, index)

    def _body(self, message: Message, index: int, *, last: bool, is_open: bool) -> Iterator[Piece]:
        content = message.content
        if self.strip and message.role is not ChatRole.TOOL and not is_open:
            content = content.strip()
        reasoning = message.reasoning
        if message.role is ChatRole.ASSISTANT:
            if reasoning is not None and (last or self.preserve_previous_think):
                yield from self._reasoning(reasoning, index)
            elif self.style is ReasoningStyle.TAG and split_reasoning(content):
                raise _error(index, "has its reasoning in `content`", "it in `reasoning`")
        elif reasoning is not None:
            raise _error(index, "has reasoning", "reasoning on assistant messages only")
        if content:
            yield Piece(content, None, Part.CONTENT, index)

    def _reasoning(self, reasoning: str, index: int) -> Iterator[Piece]:
        yield self._prefix(index)
        if self.style is ReasoningStyle.TAG:
            if _CLOSE in reasoning:
                raise _error(index, "has '</think>' in its reasoning", "reasoning without it")
            yield Piece(reasoning + THINK_END, None, Part.REASONING, index)
            return
        if reasoning:
            yield Piece(reasoning, None, Part.REASONING, index)
        yield Piece(st.REASONING_END, st.REASONING_END, Part.REASONING, index)


def _header(role: str, index: int) -> Iterator[Piece]:
    yield Piece(st.START_HEADER, st.START_HEADER, Part.HEADER, index)
    yield Piece(str(role), None, Part.HEADER, index)
    yield Piece(st.END_HEADER, st.END_HEADER, Part.HEADER, index)
    yield Piece(_BLANK_LINE, None, Part.HEADER, index)


DEFAULT_TEMPLATE: Final = ChatTemplate()


def _check_unicode(pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        try:
            piece.text.encode()
        except UnicodeEncodeError:
            raise _error(piece.message, "holds a lone surrogate", "Unicode text") from None


def render_text(
    dialog: Dialog, template: ChatTemplate = DEFAULT_TEMPLATE, *, prompt: bool = False
) -> str:
    """Return a dialog as text; raises `CodecError` as `ChatTemplate.pieces` does.

    Content that spells the name of a special token has no text form, only ids.
    """
    pieces = template.pieces(dialog, prompt=prompt)
    _check_unicode(pieces)
    for piece in pieces:
        found = None if piece.special else st.SPECIAL_PATTERN.search(piece.text)
        if found:
            raise _error(
                piece.message,
                f"holds {found[0]}, which text cannot tell from the token,",
                "text without names of special tokens",
                "token ids can say it: use render_ids",
            )
    return "".join(piece.text for piece in pieces)


def render_ids(
    dialog: Dialog,
    tokenizer: Tokenizer,
    template: ChatTemplate = DEFAULT_TEMPLATE,
    *,
    prompt: bool = False,
) -> EncodedDialog:
    """Return a dialog as token ids; raises `CodecError` as `ChatTemplate.pieces` does."""
    pieces = template.pieces(dialog, prompt=prompt)
    _check_unicode(pieces)
    texts = iter(tokenizer.encode_cached([p.text for p in pieces if p.special is None]))
    ids: list[int] = []
    parts: list[int] = []
    message_index: list[int] = []
    for piece in pieces:
        if piece.special is None:
            tokens = next(texts)
        else:
            tokens = (tokenizer.special_id(piece.special),)
        ids += tokens
        parts += [int(piece.part)] * len(tokens)
        message_index += [piece.message] * len(tokens)
    roles = (*(message.role for message in dialog.messages), ChatRole.ASSISTANT)
    return EncodedDialog(ids, parts, message_index, roles)


def exactly(template: ChatTemplate) -> ChatTemplate:
    """Return the template without the switches that lose something: what parsing inverts."""
    return replace(template, strip=False, preserve_previous_think=True)
