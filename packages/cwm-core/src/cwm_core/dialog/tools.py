r"""Tool calls in assistant text (``<tool: NAME>\nCONTENT\n</tool>``) and their announcement."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from cwm_core.dialog.edits import BLOCK_SHAPES
from cwm_core.errors import CodecError

_OPEN: Final = "<tool:"
_CLOSE: Final = "</tool>"
_HEADER: Final = re.compile(r"<tool: ([A-Za-z_][A-Za-z0-9_.-]*)>\n")

Report = Callable[[CodecError], None]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A request to run the tool `name` on `content`."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class FoundCalls:
    """What `find_calls` found: text and calls in order, and every deviation from the format.

    `unfinished` is a call at the end of the text whose ``</tool>`` is missing.
    """

    parts: tuple[str | ToolCall, ...]
    problems: tuple[CodecError, ...] = ()
    unfinished: ToolCall | None = None

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The finished calls."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


def render_call(call: ToolCall) -> str:
    """Return a call's wire form; raises `CodecError` when its name or content cannot be said."""
    text = f"<tool: {call.name}>\n{call.content}\n{_CLOSE}"
    if parse_calls(text) != (call,):
        raise CodecError(f"the tool name {call.name!r}", offset=0, expected="another name")
    return text


class _Scanner:
    def __init__(self, text: str, report: Report) -> None:
        self.text = text
        self.report = report
        self.parts: list[str | ToolCall] = []
        self.unfinished: ToolCall | None = None

    def fail(self, message: str, offset: int, expected: str) -> None:
        self.report(CodecError(message, offset=offset, expected=expected))

    def scan(self) -> None:
        position = searched = 0
        while (start := self.text.find(_OPEN, searched)) != -1:
            self._check_stray(searched, start)
            header = _HEADER.match(self.text, start)
            if header is None:
                self.fail("a broken tool tag", start, "'<tool: NAME>' and a newline")
                searched = start + len(_OPEN)
                continue
            self._add_text(position, start)
            position = searched = self._call(header)
        self._check_stray(searched, len(self.text))
        self._add_text(position, len(self.text))

    def _add_text(self, start: int, end: int) -> None:
        if end > start:
            self.parts.append(self.text[start:end])

    def _check_stray(self, start: int, end: int) -> None:
        stray = self.text.find(_CLOSE, start, end)
        if stray != -1:
            self.fail("'</tool>' without a tool call", stray, f"'{_OPEN} NAME>' before it")

    def _call(self, header: re.Match[str]) -> int:
        text, start = self.text, header.end()
        close = text.find(_CLOSE, start)
        if close == -1:
            self.fail(f"an unfinished call of {header[1]}", len(text), f"a newline and '{_CLOSE}'")
            self.unfinished = ToolCall(header[1], text[start:])
            return len(text)
        nested = text.find(_OPEN, start, close)
        if nested != -1:
            self.fail(f"a tool tag inside a call of {header[1]}", nested, f"'{_CLOSE}' before it")
        if close == start or text[close - 1] != "\n":
            self.fail(f"a call of {header[1]} that ends within a line", close, "a newline")
            content = text[start:close]
        else:
            content = text[start : close - 1]
        self.parts.append(ToolCall(header[1], content))
        return close + len(_CLOSE)


def _strictly(error: CodecError) -> None:
    raise error


def split_calls(text: str) -> tuple[str | ToolCall, ...]:
    """Cut assistant text strictly into plain text and calls.

    Raises `CodecError` for unfinished, nested or broken tags and ``</tool>`` without a call; what
    is accepted is what the parts give when calls are rendered and everything is joined.
    """
    scanner = _Scanner(text, _strictly)
    scanner.scan()
    return tuple(scanner.parts)


def parse_calls(text: str) -> tuple[ToolCall, ...]:
    """Return the calls of assistant text, read strictly as `split_calls` does."""
    return FoundCalls(split_calls(text)).calls


def find_calls(text: str) -> FoundCalls:
    """Find the calls in whatever a model wrote; deviations become problems, nothing is raised."""
    problems: list[CodecError] = []
    scanner = _Scanner(text, problems.append)
    scanner.scan()
    return FoundCalls(tuple(scanner.parts), tuple(problems), scanner.unfinished)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the system prompt announces it.

    `parameters` are the names of its arguments. With one, the content of a call is its text; with
    several, a JSON object, except for `edit` and `create`, which have their own blocks.
    """

    name: str
    description: str = ""
    parameters: tuple[str, ...] = ("input",)

    @property
    def shape(self) -> str:
        """What the content of a call looks like."""
        if set(self.parameters) == set(BLOCK_SHAPES.get(self.name, ("", ()))[1]):
            return BLOCK_SHAPES[self.name][0]
        if len(self.parameters) == 1:
            return f"[{self.parameters[0]}]"
        return "[JSON object with " + ", ".join(self.parameters) + "]"


def announce_tools(tools: Iterable[ToolSpec]) -> str:
    """Return the part of a system prompt that tells a model which tools there are."""
    parts = ["You have access to the following tools:"]
    for tool in tools:
        parts.append(f"<tool: {tool.name}>\n{tool.shape}\n{_CLOSE}\n{tool.description}".rstrip())
    return "\n\n".join(parts)
