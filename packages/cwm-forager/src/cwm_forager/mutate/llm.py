"""The mutator `llm_rewrite`: a model writes a function anew, with a bug that looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

from cwm_core.dialog.messages import Message
from cwm_core.env.concurrency import run_sync
from cwm_forager.images.conversation import Conversation
from cwm_forager.mutate.base import Scope
from cwm_forager.mutate.llm_config import LlmRewriteConfig

SYSTEM = """\
You plant realistic bugs for a debugging exercise. You are given one Python definition. Rewrite it
with one subtle mistake of the kind that a competent programmer makes: a forgotten case, a wrong
boundary, state that is updated too late, two similar things confused. It must still be valid Python
with the same name and signature, fail for some inputs and work for others. Write no comment about
it.

Answer with one line that begins with EXPLANATION: and says what is wrong, then the whole definition
in one fenced block:

EXPLANATION: ...
```python
...
```"""
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)


class LlmRewrite:
    """Asks for as many rewrites as are drawn."""

    scope: Scope = "function"

    def __init__(self, config: LlmRewriteConfig) -> None:
        self._config = config
        self.explanation = ""
        """What the model said about its latest rewrite."""

    def mutations(self, source: str, random: Random) -> Iterator[str]:
        """Yield rewrites; answers without exactly one fenced block are passed over."""
        for _ in range(self._config.tries):
            found = self.rewrite_of(run_sync(self._ask(source, random.getrandbits(31))))
            if found is not None:
                self.explanation, rewritten = found
                yield rewritten

    async def _ask(self, source: str, seed: int) -> str:
        config = self._config
        engine = config.engine.build()
        try:
            conversation = Conversation(
                engine,
                config.engine.name,
                config.tokenizer,
                SYSTEM,
                max_tokens=config.max_tokens,
                budget_tokens=10**9,
                temperature=config.temperature,
                seed=seed,
            )
            answer = await conversation.ask(Message.user(f"```python\n{source}```"))
        finally:
            await engine.close()
        return answer.content

    @staticmethod
    def rewrite_of(answer: str) -> tuple[str, str] | None:
        """Return explanation and source of an answer, None where it has no single block."""
        blocks = _BLOCK.findall(answer)
        if len(blocks) != 1 or not blocks[0].strip():
            return None
        said = re.search(r"EXPLANATION:[ \t]*(.+)", answer)
        return (said[1].strip() if said else ""), blocks[0].rstrip() + "\n"
