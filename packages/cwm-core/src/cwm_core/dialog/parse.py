"""Parses dialogs from text and token ids, strictly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cwm_core.dialog.messages import ChatRole, Dialog, Message
from cwm_core.dialog.template import (
    DEFAULT_TEMPLATE,
    ChatTemplate,
    ReasoningStyle,
    exactly,
    render_ids,
    render_text,
    split_reasoning,
)
from cwm_core.errors import CodecError
from cwm_core.text import special_tokens as st
from cwm_core.trace.lexer import Segment, Wire, as_text, cut_ids, cut_text, strictly

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

_ROLES = "system, user, assistant or 'tool: NAME'"


class _Reader:
    def __init__(self, wire: Wire, template: ChatTemplate) -> None:
        self._wire = wire
        self._next = 0
        self._tokens = template.style is ReasoningStyle.TOKEN

    def _peek(self) -> Segment:
        if self._next < len(self._wire.segments):
            return self._wire.segments[self._next]
        end = self._wire.end
        return Segment("", None, end, end, lambda index: end)

    def _expect(self, special: str) -> None:
        segment = self._peek()
        if segment.special != special:
            found = segment.special or ("text" if segment.text else "the end")
            raise CodecError(f"{found} is out of place", offset=segment.offset, expected=special)
        self._next += 1

    def _text(self) -> str:
        segment = self._peek()
        if segment.special is not None or not segment.text:
            return ""
        self._next += 1
        return segment.text

    def dialog(self) -> Dialog:
        self._expect(st.BEGIN_OF_TEXT)
        messages = []
        while self._next < len(self._wire.segments):
            messages.append(self._message())
        return Dialog(tuple(messages))

    def _message(self) -> Message:
        self._expect(st.START_HEADER)
        header = self._peek()
        role, tool = self._role(self._text(), header.offset)
        self._expect(st.END_HEADER)
        blank = self._peek()
        reasoning = None
        body = self._text()
        if not body.startswith("\n\n"):
            raise CodecError("no blank line", offset=blank.offset, expected="two newlines")
        body = body[2:]
        if role is ChatRole.ASSISTANT and self._tokens:
            if not body and self._peek().special == st.REASONING_START:
                reasoning, body = self._token_reasoning()
        elif role is ChatRole.ASSISTANT:
            reasoning, body = split_reasoning(body) or (None, body)
        self._expect(st.EOT)
        return Message(role, body, reasoning, tool)

    def _token_reasoning(self) -> tuple[str, str]:
        self._expect(st.REASONING_START)
        reasoning = self._text()
        self._expect(st.REASONING_END)
        return reasoning, self._text()

    def _role(self, text: str, offset: int) -> tuple[ChatRole, str | None]:
        name, separator, tool = text.partition(": ")
        known = name in set(ChatRole)
        if not known or bool(separator) != (name == ChatRole.TOOL):
            raise CodecError("an unknown role", offset=offset, expected=_ROLES)
        return ChatRole(name), tool if separator else None


def _same(given: Sequence[object], expected: Sequence[object], what: str) -> None:
    if given == expected:
        return
    differing = (i for i, (a, b) in enumerate(zip(given, expected)) if a != b)
    offset = next(differing, min(len(given), len(expected)))
    raise CodecError(f"an unusual {what}", offset=offset, expected="what rendering gives")


def _as_codec_error(error: CodecError, end: int) -> CodecError:
    """Return a rendering error of a parsed dialog as an error of what was parsed."""
    return CodecError(error.args[0], offset=end, expected="a dialog that can be rendered")


def parse_text(text: str | bytes, template: ChatTemplate = DEFAULT_TEMPLATE) -> Dialog:
    """Parse the text of finished messages; `template` says how reasoning is marked.

    Strict: what is accepted is what `render_text` gives back (with `exactly(template)`), character
    by character. Raises `CodecError` with the offset in characters.
    """
    checked = as_text(text, strictly)
    dialog = _Reader(cut_text(checked), template).dialog()
    try:
        again = render_text(dialog, exactly(template))
    except CodecError as error:
        raise _as_codec_error(error, len(checked)) from None
    _same(checked, again, "spelling")
    return dialog


def parse_ids(
    ids: Sequence[int], tokenizer: Tokenizer, template: ChatTemplate = DEFAULT_TEMPLATE
) -> Dialog:
    """Parse the token ids of finished messages, as `parse_text` does text; offsets count tokens."""
    wire = cut_ids(ids, tokenizer, strictly)
    dialog = _Reader(wire, template).dialog()
    try:
        again = render_ids(dialog, tokenizer, exactly(template)).ids
    except CodecError as error:
        raise _as_codec_error(error, wire.end) from None
    _same(list(ids), again, "splitting into tokens")
    return dialog
