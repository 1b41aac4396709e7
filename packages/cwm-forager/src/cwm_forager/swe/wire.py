"""Messages of the environment as observations: text, and token ids where there is a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cwm_core.dialog.messages import Dialog, Message
from cwm_core.dialog.template import ChatTemplate, ReasoningStyle, render_ids
from cwm_core.env.environment import Action, Observation
from cwm_core.text import special_tokens as st

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

CHARACTERS_PER_TOKEN = 4
"""Estimate where there is no tokenizer."""
_CUT = "\n[cut off]"


@dataclass(frozen=True, slots=True)
class Wire:
    """Renders, counts and cuts messages; `thinking` is that of `SweConfig`."""

    tokenizer: Tokenizer | None
    thinking: str

    @property
    def template(self) -> ChatTemplate:
        """The chat format."""
        style = ReasoningStyle.TOKEN if self.thinking == "token" else ReasoningStyle.TAG
        return ChatTemplate(style=style, enable_thinking=self.thinking != "off")

    def count(self, text: str) -> int:
        """Return the number of tokens of plain text, estimated without a tokenizer."""
        if self.tokenizer is None:
            return -(-len(text) // CHARACTERS_PER_TOKEN)
        return len(self.tokenizer.encode(_unicode(text)))

    def tokens_of(self, shown: Observation | Action) -> int:
        """Return the number of tokens of an observation or action, estimated without ids."""
        return self.count(shown.text) if shown.token_ids is None else len(shown.token_ids)

    def first(self, system: str, user: str) -> Observation:
        """Return the prompt, which leaves the assistant's turn open."""
        text = f"{system}\n\n{user}"
        if self.tokenizer is None:
            return Observation(text)
        dialog = Dialog((Message.system(system), Message.user(user)))
        ids = render_ids(dialog, self.tokenizer, self.template, prompt=True).ids
        return Observation(text, tuple(ids))

    def answer(self, message: Message, action: Action) -> Observation:
        """Return what follows an action: its end where it has none, the message, an open turn."""
        message = replace(message, content=_unicode(message.content))
        if self.tokenizer is None:
            return Observation(message.content)
        encoded = render_ids(Dialog((message,)), self.tokenizer, self.template, prompt=True)
        ids = encoded.ids[1:]  # the begin of text stands in front of the prompt
        ends = {self.tokenizer.special_id(name) for name in (st.EOT, st.EOM, st.END_OF_TEXT)}
        if action.token_ids and action.token_ids[-1] not in ends:
            ids = [self.tokenizer.special_id(st.EOT), *ids]
        return Observation(message.content, tuple(ids))

    def cut(self, text: str, most: int, *, front: bool = False) -> str:
        """Cut text to a number of tokens, at its end or its front."""
        text = _unicode(text)
        if self.count(text) <= most:
            return text
        if self.tokenizer is None:
            most *= CHARACTERS_PER_TOKEN
            return text[-most:] if front else text[: max(0, most - len(_CUT))] + _CUT
        ids = self.tokenizer.encode(text)
        if front:
            return self.tokenizer.decode(ids[-most:])
        room = max(0, most - self.count(_CUT))
        return self.tokenizer.decode(ids[:room]) + _CUT

    def plain(self, action: Action) -> str:
        """Return an action's text without end tokens."""
        text = action.text
        if not text and action.token_ids and self.tokenizer is not None:
            text = self.tokenizer.decode(action.token_ids)
        for name in (st.EOT, st.EOM, st.END_OF_TEXT):
            text = text.removesuffix(name)
        return text


def _unicode(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
