"""Rewriting accounts by a language model, through any engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cwm_core.engine.base import Engine, SamplingParams
from cwm_tracer.narrate.check import FINAL
from cwm_tracer.narrate.rules import Narration

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

_REQUEST = """\
Below are a question about a program, and a true account of its execution, which a machine wrote.
Explain the execution to a colleague in fluent prose: what is computed, how the variables change,
why the result is what it is. Sum up repetitions. Use no value and no number that the account does
not have. Make the last line exactly `{final} VALUE`, with the result as the account has it.

{text}"""


@dataclass(frozen=True, slots=True)
class Rewriter:
    """Asks an engine for another account of the same execution."""

    engine: Engine
    tokenizer: Tokenizer
    params: SamplingParams
    chat: bool

    async def rewrite(self, narration: Narration, seed: int) -> str | None:
        """Return the model's account; None if it was cut off.

        Raises:
            EngineError: the engine cannot be reached.
        """
        made = await self.engine.generate(
            self._prompt(narration), replace(self.params, seed=seed % 2**31)
        )
        if made.finish_reason == "length":
            return None
        return made.text or self.tokenizer.decode(made.token_ids, skip_special=True)

    def _prompt(self, narration: Narration) -> list[int]:
        request = _REQUEST.format(final=FINAL, text=narration.text)
        if not self.chat:
            return self.tokenizer.encode(f"{request}\n\nExplanation:\n")
        from cwm_core.dialog import Dialog, Message
        from cwm_core.dialog.template import ChatTemplate, render_ids

        template = ChatTemplate(enable_thinking=False)
        dialog = Dialog((Message.user(request),))
        return render_ids(dialog, self.tokenizer, template, prompt=True).ids
