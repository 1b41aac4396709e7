"""A trajectory as a conversation."""

from __future__ import annotations

from collections.abc import Iterable

from cwm_core.dialog.messages import ChatRole, Dialog, Message
from cwm_core.dialog.template import split_reasoning
from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.text import special_tokens as st

_ENDS = (st.EOT, st.EOM, st.END_OF_TEXT)


def dialog_of(trajectory: Trajectory) -> Dialog:
    """Return the turns as messages; what answers a turn without a call comes from the user."""
    return Dialog(tuple(_messages(trajectory.turns)))


def _messages(turns: Iterable[Turn]) -> Iterable[Message]:
    last: Message | None = None
    for turn in turns:
        if turn.role == "action":
            last = _spoken(turn.text)
        elif turn.role == "prompt" or last is None or not last.calls:
            last = Message.user(turn.text)
        else:
            last = Message.tool_result(last.calls[0].name, turn.text)
        yield last


def _spoken(text: str) -> Message:
    for end in _ENDS:
        text = text.removesuffix(end)
    reasoning, content = split_reasoning(text) or (None, text)
    return Message(ChatRole.ASSISTANT, content, reasoning)
