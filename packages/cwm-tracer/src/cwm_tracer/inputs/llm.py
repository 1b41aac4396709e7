"""Inputs proposed by a language model, through any engine."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.env.concurrency import run_sync
from cwm_tracer.inputs.callee import Anatomy, Callee, anatomy
from cwm_tracer.inputs.calls import calls_in_text
from cwm_tracer.inputs.text import canonical, is_harmless, parse_call

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

_SHOWN = 8
_PROMPT = """\
{source}

# Below, {entry} is called {count} times. Together the calls reach every line and every branch,
# edge cases included. One call per line, all arguments are literals.
{known}{name}("""
_QUESTION = """\
Write {count} calls of `{entry}` that together reach every line and every branch of it, edge cases
included. All arguments are literals. Answer with one call per line and nothing else.

```python
{source}
```
{known}"""


class Proposals:
    """Asks an engine for calls and keeps those whose arguments only make values.

    Anything may stand around the calls in the answer. What is not a call of the function, does not
    parse, gives a parameter that does not exist, or reaches for more than values, is dropped.
    """

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, params: SamplingParams, count: int, chat: bool
    ) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._params = params
        self._count = count
        self._chat = chat

    def inputs(self, callee: Callee, known: Sequence[str], seed: int) -> Iterator[str]:
        """Yield the proposals in the order of the answer; `seed` is the engine's.

        Raises:
            EngineError: the engine cannot be reached.
        """
        parts = anatomy(callee)
        answer = self._answer(self._prompt(callee, known), seed)
        begun = "" if self._chat else f"{callee.name}("
        found = [text for text in proposals(answer, callee.name, begun) if fits(text, parts)]
        yield from dict.fromkeys(text for text in found if text not in known)

    def _prompt(self, callee: Callee, known: Sequence[str]) -> list[int]:
        calls = "".join(f"{callee.name}({text})\n" for text in known[-_SHOWN:])
        fields = {
            "source": callee.source.strip(),
            "entry": callee.entry,
            "name": callee.name,
            "count": str(self._count),
        }
        if not self._chat:
            return self._tokenizer.encode(_PROMPT.format(known=calls, **fields))
        from cwm_core.dialog import Dialog, Message
        from cwm_core.dialog.template import render_ids

        known_text = f"\nThese calls are known already:\n\n{calls}" if calls else ""
        question = Message.user(_QUESTION.format(known=known_text, **fields))
        return render_ids(Dialog((question,)), self._tokenizer, prompt=True).ids

    def _answer(self, prompt: Sequence[int], seed: int) -> str:
        from dataclasses import replace

        params = replace(self._params, seed=seed % 2**31)

        async def generate() -> Any:
            return await self._engine.generate(prompt, params)

        made = run_sync(generate())
        return made.text or self._tokenizer.decode(made.token_ids, skip_special=True)


def proposals(answer: str, name: str, begun: str = "") -> list[str]:
    """Return the argument lists in an answer: of calls, else of JSON arrays, one per line.

    `begun` is what stands before the answer: the beginning of a call that it may go on with.
    """
    found = list(calls_in_text(begun + answer, (name,)))
    if found:
        return found
    lines = (re.sub(r"^[\s>*\-\d.)]*(?=\[)", "", line) for line in answer.splitlines())
    return [text for text in map(_from_json, lines) if text is not None]


def _from_json(line: str) -> str | None:
    try:
        values = json.loads(line.strip().rstrip(","))
    except (ValueError, RecursionError):
        return None
    return canonical(", ".join(map(repr, values))) if isinstance(values, list) else None


def fits(text: str, parts: Anatomy) -> bool:
    """Whether an argument list only makes values and could be one of the function's."""
    call = parse_call(text)
    if call is None:
        return False
    kinds = [parameter.kind for parameter in parts.parameters]
    names = {parameter.name for parameter in parts.parameters}
    if "args" not in kinds and len(call.args) > kinds.count("positional"):
        return False
    if "kwargs" not in kinds and any(word.arg not in names for word in call.keywords):
        return False
    values = [*call.args, *(word.value for word in call.keywords)]
    return is_harmless(ast.Tuple(values, ast.Load()), parts.defined)
