"""What an assistant says, as it comes: reasoning, content and tool calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cwm_core.dialog.template import ReasoningStyle
from cwm_core.dialog.tools import ToolCall, find_calls
from cwm_core.text import special_tokens as st
from cwm_train.serve.text import overlap

_CALL = "<tool:"
_END = "</tool>"


@dataclass(frozen=True, slots=True)
class Said:
    """The next part of one kind; the others are empty."""

    reasoning: str = ""
    content: str = ""
    call: ToolCall | None = None


class Reasoning:
    """Splits text into reasoning and content; `begun` if the prompt has opened the reasoning."""

    def __init__(self, style: ReasoningStyle, begun: bool) -> None:
        tags = style is ReasoningStyle.TAG
        self._start = "<think>\n" if tags else st.REASONING_START
        self._close = "</think>" if tags else st.REASONING_END
        self._inside, self._undecided = begun, not begun
        self._held, self._after = "", False

    def add(self, text: str, end: bool = False) -> tuple[str, str]:
        """Take text in, the last with `end`; return what is reasoning and what is content."""
        text, self._held = self._held + text, ""
        if self._undecided:
            if not end and self._start.startswith(text):
                self._held = text
                return "", ""
            self._undecided, self._inside = False, text.startswith(self._start)
            text = text.removeprefix(self._start)
        if not self._inside:
            return "", self._content(text)
        reasoning, close, content = text.partition(self._close)
        if close:
            self._inside, self._after = False, True
            return reasoning.removesuffix("\n"), self._content(content)
        keep = 0 if end else max(overlap(text, self._close), overlap(text, "\n" + self._close))
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], ""

    def _content(self, text: str) -> str:
        """Drop the newline after the reasoning."""
        if self._after and text:
            self._after = False
            return text.removeprefix("\n")
        return text


class Calls:
    """Takes finished tool calls out of content; an unfinished one stays text."""

    def __init__(self) -> None:
        self._held, self._after = "", False

    def add(self, text: str, end: bool = False) -> list[Said]:
        """Take content in, the last with `end`."""
        text, self._held = self._held + text, ""
        cut = len(text)
        if not end:
            open_call = text.rfind(_CALL)
            if open_call >= 0 and text.find(_END, open_call) < 0:
                cut = open_call - text[:open_call].endswith("\n")
            else:
                cut -= max(overlap(text, _CALL), overlap(text, "\n" + _CALL))
        self._held = text[cut:]
        found = find_calls(text[:cut])
        said = [
            Said(call=part) if isinstance(part, ToolCall) else Said(content=part)
            for part in found.parts
        ]
        if found.unfinished is not None:
            call = found.unfinished
            said.append(Said(content=f"{_CALL} {call.name}>\n{call.content}"))
        return list(self._without_line_ends(said))

    def _without_line_ends(self, said: list[Said]) -> Iterable[Said]:
        """Drop the newlines that only set calls apart."""
        for part, following in zip(said, [*said[1:], Said()]):
            content = part.content.removeprefix("\n") if self._after else part.content
            self._after = part.call is not None
            if following.call is not None:
                content = content.removesuffix("\n")
            if part.call is not None or content:
                yield Said(content=content, call=part.call)


class Speech:
    """Both in a row: text in, parts out."""

    def __init__(self, style: ReasoningStyle, begun: bool, tools: bool) -> None:
        self._reasoning = Reasoning(style, begun)
        self._calls = Calls() if tools else None

    def add(self, text: str, end: bool = False) -> list[Said]:
        """Take text in, the last with `end`; return the parts that are certain."""
        reasoning, content = self._reasoning.add(text, end)
        said = [Said(reasoning=reasoning)] if reasoning else []
        if self._calls is not None:
            return said + self._calls.add(content, end)
        return said + ([Said(content=content)] if content else [])
