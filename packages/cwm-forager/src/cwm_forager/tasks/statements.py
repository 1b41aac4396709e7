"""Problem statements: by template, or written by a model from the failing tests.

A statement must tell what is wrong and not how it is repaired: one that quotes a line which only
the repair has, or names the changed function's fix as code, is refused.
"""

from __future__ import annotations

import re

from cwm_core.dialog.messages import Dialog, Message
from cwm_core.dialog.template import ChatTemplate, render_ids
from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.errors import DataError
from cwm_core.text.special_tokens import STOP_TOKENS
from cwm_core.text.tokenizer import Tokenizer
from cwm_forager.tasks.instance import Instance

_SHOWN = 10
_TRIES = 3
_SYSTEM = (
    "You report bugs in software. From failing tests you write an issue as a user of the library "
    "would: what was done, what happened, what was expected, with a short example. You do not know "
    "the source code and say nothing about how to repair it."
)


def template_statement(instance: Instance, output: str = "") -> str:
    """Return a statement that lists failing tests and, where given, the end of their output."""
    tests = [f"- `{test}`" for test in instance.fail_to_pass[:_SHOWN]]
    more = len(instance.fail_to_pass) - _SHOWN
    lines = ["Some tests of this repository fail since a recent change:", "", *tests]
    if more > 0:
        lines.append(f"- and {more} more")
    if output:
        lines += ["", "The end of the test run:", "", "```", output.strip()[-3000:], "```"]
    lines += ["", "The tests are right. Find the cause in the source and repair it."]
    return "\n".join(lines)


async def written_statement(
    instance: Instance, output: str, engine: Engine, tokenizer: Tokenizer, max_tokens: int = 1024
) -> str:
    """Return a statement by a model, from failing tests and the `output` of their run.

    Raises:
        DataError: every try gave the repair away, or nothing.
        EngineError: from the engine.
    """
    shown = template_statement(instance, output)
    user = f"These tests of {instance.repository} fail.\n\n{shown}\n\nWrite the issue."
    dialog = Dialog((Message.system(_SYSTEM), Message.user(user)))
    template = ChatTemplate(enable_thinking=False)
    prompt = render_ids(dialog, tokenizer, template, prompt=True).ids
    stops = tuple(tokenizer.special_id(name) for name in STOP_TOKENS)
    problem = "it is empty"
    for attempt in range(_TRIES):
        params = SamplingParams(max_tokens, temperature=0.7, stop_token_ids=stops, seed=attempt)
        made = await engine.generate(prompt, params)
        text = tokenizer.decode([t for t in made.token_ids if t not in stops]).strip()
        problem = given_away(text, instance) if text else "it is empty"
        if not problem:
            return text
    raise DataError(f"no usable statement for {instance.id}: {problem}", "use statements=template")


def given_away(text: str, instance: Instance) -> str:
    """Return what in a statement gives the repair away; empty when nothing does."""
    if re.search(r"^(diff --git|@@ -\d|\+\+\+ |--- a/)", text, re.MULTILINE):
        return "it holds a patch"
    flat = _flat(text)
    for line in _repaired_lines(instance.gold_patch):
        if line in flat:
            return f"it quotes the repair: {line!r}"
    return ""


def _repaired_lines(patch: str) -> list[str]:
    """Return the added lines that say something and are not among the removed ones."""
    added = [line[1:] for line in patch.splitlines() if re.match(r"\+(?!\+\+ )", line)]
    removed = {_flat(line[1:]) for line in patch.splitlines() if re.match(r"-(?!-- )", line)}
    lines = [_flat(line) for line in added]
    return [line for line in lines if len(line) >= 8 and line not in removed]


def _flat(text: str) -> str:
    return re.sub(r"\s+", "", text)
