"""What environments that speak the chat format share: prompts, tool results, reading answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cwm_core.dialog.messages import Dialog, Message
from cwm_core.dialog.template import THINK_END, ChatTemplate, render_ids, render_text
from cwm_core.env.environment import Action, Observation
from cwm_core.text import special_tokens as st

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

_ENDS = (st.EOT, st.EOM, st.END_OF_TEXT)


class Chat:
    """Shows messages, as token ids where there is a tokenizer, and reads what was answered."""

    def __init__(self, tokenizer: Tokenizer | None, thinking: bool) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate(enable_thinking=thinking)

    def prompt(self, *messages: Message) -> Observation:
        """Begin a conversation; the assistant is to speak."""
        dialog = Dialog(messages)
        text = render_text(dialog, self._template, prompt=True)
        if self._tokenizer is None:
            return Observation(text)
        encoded = render_ids(dialog, self._tokenizer, self._template, prompt=True)
        return Observation(text, tuple(encoded.ids))

    def reply(self, action: Action, message: Message) -> Observation:
        """Answer an action; the assistant is to speak again.

        The action's own tokens stay as they are; the end of its turn is added where it is missing.
        """
        shown = self.prompt(message)
        text = shown.text.removeprefix(st.BEGIN_OF_TEXT)
        if shown.token_ids is None or self._tokenizer is None:
            return Observation(text)
        ids = shown.token_ids[1:]
        if not (action.token_ids and self._ends_turn(action.token_ids[-1])):
            text, ids = st.EOT + text, (self._tokenizer.special_id(st.EOT), *ids)
        return Observation(text, ids)

    def said(self, action: Action) -> str:
        """Return what an action says after its reasoning, without special tokens."""
        text = action.text
        if action.token_ids is not None and self._tokenizer is not None:
            text = self._tokenizer.decode(action.token_ids, skip_special=True)
        for end in _ENDS:
            text = text.removesuffix(end)
        return text.rpartition(THINK_END.strip())[2].strip()

    def _ends_turn(self, token: int) -> bool:
        assert self._tokenizer is not None
        return self._tokenizer.special_name(token) in _ENDS
