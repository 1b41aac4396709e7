"""Narration by rules: every sentence is made from a fact, so none can be wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from cwm_core.data.records import TraceRecord
from cwm_core.errors import DataError
from cwm_core.trace.frames import START_OF_TRACE
from cwm_tracer.capture.scripts import MODULE, read_input
from cwm_tracer.narrate.story import Ending, Fact, ending, facts
from cwm_tracer.narrate.voices import CLAUSES, PHRASES, QUESTIONS, VOICES


@dataclass(frozen=True, slots=True)
class Narration:
    """A question about an execution, the account of it, and the true answer."""

    prompt: str
    account: str
    answer: str
    """The returned value's or the exception's `repr`, or what a script printed."""

    @property
    def text(self) -> str:
        """The whole document."""
        return f"{self.prompt}\n\n{self.account}\n"


def narrate(record: TraceRecord, seed: int = 0, max_value: int = 200) -> Narration:
    """Tell a complete execution; the same words for the same record and seed.

    Values of more than `max_value` characters are not spelled out, except in the answer.

    Raises:
        DataError: the execution was cut off, so it has no result.
    """
    end = ending(record)
    if end is None:
        raise DataError(
            f"trace {record.trace_id} is not complete ({record.outcome})",
            "narrate executions that returned or raised",
        )
    teller = _Teller(Random(f"{seed} {record.trace_id}"), max_value)
    return Narration(teller.question(record, end), teller.account(facts(record), end), end.text)


def code(text: str) -> str:
    """Quote a text as Markdown code, whatever backticks it holds."""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def block(text: str, language: str = "") -> str:
    """Quote lines as a fenced Markdown block."""
    fence = "`" * max(3, max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence}{language}\n{text.rstrip(chr(10))}\n{fence}"


class _Teller:
    def __init__(self, rng: Random, max_value: int) -> None:
        self._rng = rng
        self._max_value = max_value
        self._words = VOICES[rng.choice(sorted(VOICES))]
        self._separator = rng.choice(("\n", " ", "\n- "))

    def question(self, record: TraceRecord, end: Ending) -> str:
        source = record.context.replace(f"  {START_OF_TRACE}", "")
        asked = self._rng.choice(QUESTIONS["output" if record.entry == MODULE else end.kind])
        call = code(f"{record.entry}({record.input})")
        return f"{block(source, 'python')}\n\n{asked.format(call=call, given=_given(record))}"

    def account(self, told: Iterable[Fact], end: Ending) -> str:
        sentences = [self._sentence(fact) for fact in told]
        body = self._separator.join(sentences)
        lead = "- " if self._separator == "\n- " else ""
        return f"{lead}{body}\n\n{self._last(end)}"

    def _sentence(self, fact: Fact) -> str:
        kind = fact.kind
        if kind in ("call", "resume") and not fact.values:
            kind = f"{kind}_bare"
        return self._rng.choice(self._words[kind]).format(
            function=_function(fact.function),
            line=fact.line,
            source=code(fact.source),
            values=self._values(fact, CLAUSES),
            pairs=self._values(fact, PHRASES),
            value=self._value(fact.value),
            next_line=fact.next_line,
        )

    def _values(self, fact: Fact, forms: tuple[str, str, str]) -> str:
        shown, long, gone = forms
        parts = [
            (shown if len(text) <= self._max_value else long).format(
                name=code(name), text=code(text)
            )
            for name, text in fact.values.items()
        ]
        parts += [gone.format(name=code(name)) for name in fact.gone]
        return (
            " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
        )

    def _value(self, text: str) -> str:
        return code(text) if len(text) <= self._max_value else "a value too long to spell out"

    def _last(self, end: Ending) -> str:
        kind = "silent" if end.kind == "output" and not end.text.strip() else end.kind
        value = block(end.text) if end.kind == "output" else code(end.text)
        return self._rng.choice(self._words[f"end_{kind}"]).format(value=value)


def _function(name: str) -> str:
    return "the module level" if name == MODULE else code(name)


def _given(record: TraceRecord) -> str:
    if record.entry != MODULE or not record.input:
        return ""
    argv, stdin = read_input(record.input)
    parts = [f"the arguments {code(repr(argv))}"] if argv else []
    parts += [f"the input {code(repr(stdin))}"] if stdin else []
    return f" when given {' and '.join(parts)}"
