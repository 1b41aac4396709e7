"""One choice of an answer: tokens from the engine as text, cut at stop strings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from cwm_core.engine.base import SamplingParams
from cwm_train.generate.engine import LocalEngine
from cwm_train.generate.request import Token
from cwm_train.serve.text import Detokenizer, StopStrings


@dataclass(frozen=True, slots=True)
class Piece:
    """The next text, and the tokens that it came from (some may have given none yet)."""

    text: str
    tokens: tuple[Token, ...]
    finish_reason: str | None = None


@dataclass
class Choice:
    """A finished choice."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish_reason: str = "length"

    def add(self, piece: Piece) -> None:
        """Take the next piece in."""
        self.text += piece.text
        self.tokens += piece.tokens
        self.finish_reason = piece.finish_reason or self.finish_reason


async def pieces(
    engine: LocalEngine,
    prompt: Sequence[int],
    params: SamplingParams,
    *,
    tops: int = 0,
    stops: Sequence[str] = (),
    skip_special: bool = True,
    shown: frozenset[int] = frozenset(),
) -> AsyncIterator[Piece]:
    """Yield the answer piece by piece; a stop string ends the request in the engine too."""
    letters, stop = Detokenizer(engine.tokenizer, skip_special, shown), StopStrings(stops)
    async with aclosing(engine.stream(prompt, params, tops)) as tokens:
        async for token in tokens:
            text = letters.add(token.token_id)
            if token.finish_reason:
                text += letters.flush()
            text = stop.add(text)
            if stop.found:
                yield Piece(text, (token,), "stop")
                return
            if token.finish_reason:
                yield Piece(text + stop.flush(), (token,), token.finish_reason)
                return
            yield Piece(text, (token,))


async def whole(stream: AsyncIterator[Piece]) -> Choice:
    """Collect a choice."""
    choice = Choice()
    async for piece in stream:
        choice.add(piece)
    return choice
