"""A conversation with a model behind an engine, within a budget of tokens."""

from __future__ import annotations

from pathlib import Path

from cwm_core.dialog.messages import Dialog, Message
from cwm_core.dialog.template import ChatTemplate, render_ids
from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.engine.tokenizer import tokenizer_of
from cwm_core.errors import RunError
from cwm_core.text.special_tokens import STOP_TOKENS

_TEMPLATE = ChatTemplate(enable_thinking=False)


class BudgetError(RunError):
    """The tokens that a model may read and write are spent."""


class Conversation:
    """Messages so far; `ask` adds one of ours and the model's answer.

    Raises:
        ConfigError: the engine has no tokenizer, and none is given.
    """

    def __init__(
        self,
        engine: Engine,
        engine_name: str,
        tokenizer: Path | None,
        system: str,
        *,
        max_tokens: int,
        budget_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer_of(engine, engine_name, tokenizer, "tokenizer")
        self._dialog = Dialog((Message.system(system),))
        self._params = SamplingParams(
            max_tokens=max_tokens,
            temperature=temperature,
            stop_token_ids=tuple(self._tokenizer.special_id(name) for name in STOP_TOKENS),
            seed=seed,
        )
        self.left = budget_tokens
        """Tokens that may still be read and written."""

    async def ask(self, message: Message) -> Message:
        """Say something and return the answer.

        Raises:
            BudgetError: the budget is spent.
            EngineError: the engine fails.
        """
        self._dialog = self._dialog + message
        ids = render_ids(self._dialog, self._tokenizer, _TEMPLATE, prompt=True).ids
        if len(ids) >= self.left:
            raise BudgetError("the model's budget of tokens is spent", "raise budget_tokens")
        made = await self._engine.generate(ids, self._params)
        self.left -= len(ids) + len(made.token_ids)
        text = self._tokenizer.decode(made.token_ids, skip_special=True)
        _, closed, content = text.rpartition("</think>")
        answer = Message.assistant((content if closed else text).strip())
        self._dialog = self._dialog + answer
        return answer
