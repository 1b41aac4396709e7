"""Message and Dialog: a conversation in CWM's chat format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from cwm_core.dialog.tools import ToolCall, find_calls, render_call


class ChatRole(StrEnum):
    """Who wrote a message; `TOOL` goes on the wire with the tool's name: ``tool: NAME``."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    `content` is what is said, with the tool calls of an assistant in their wire form at the place
    where they were made. `reasoning` is the text of an assistant's thinking, without its tags.
    `tool` is the name of the tool that answers, on tool messages only.
    """

    role: ChatRole
    content: str
    reasoning: str | None = None
    tool: str | None = None

    @classmethod
    def system(cls, content: str) -> Message:
        """Return a system message."""
        return cls(ChatRole.SYSTEM, content)

    @classmethod
    def user(cls, content: str) -> Message:
        """Return a user message."""
        return cls(ChatRole.USER, content)

    @classmethod
    def assistant(
        cls, content: str = "", *, reasoning: str | None = None, calls: Iterable[ToolCall] = ()
    ) -> Message:
        """Return an assistant message that ends with the given tool calls, each on its own lines.

        Raises `CodecError` for a call that the format cannot say.
        """
        parts = [content] if content else []
        return cls(ChatRole.ASSISTANT, "\n".join([*parts, *map(render_call, calls)]), reasoning)

    @classmethod
    def tool_result(cls, tool: str, content: str) -> Message:
        """Return the answer of a tool."""
        return cls(ChatRole.TOOL, content, tool=tool)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The finished tool calls of an assistant's message; see `find_calls` for its problems."""
        return find_calls(self.content).calls if self.role is ChatRole.ASSISTANT else ()


@dataclass(frozen=True, slots=True)
class Dialog:
    """A conversation, in order."""

    messages: tuple[Message, ...]

    def __add__(self, message: Message) -> Dialog:
        return Dialog((*self.messages, message))
