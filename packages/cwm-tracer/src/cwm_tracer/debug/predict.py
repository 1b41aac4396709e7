"""What a model says happens next, and how sure it is of each part."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.errors import CodecError
from cwm_core.text import special_tokens as st
from cwm_core.text.tokenizer import Tokenizer
from cwm_core.trace.codec import encode_pieces, parse_lenient
from cwm_core.trace.diff import DiffEncoder
from cwm_core.trace.frames import Event, Frame
from cwm_core.trace.pieces import EVENT_TOKENS, Piece, context_pieces, frame_pieces

_PAIR = re.compile(r'("(?:[^"\\]|\\.)*")\s*:\s*("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True, slots=True)
class Confidence:
    """Probabilities that the model gave to the tokens of each part, given all before them."""

    event: float | None = None
    """Of the kind of event; None where it was forced."""
    source: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    """Of each local's text, by name; for one written as unchanged, of that."""
    value: float | None = None
    """Of the returned value or exception."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One predicted event; `frame` is None where the model says that the trace ends."""

    frame: Frame | None
    confidence: Confidence
    problems: tuple[str, ...] = ()
    """How the model's text strays from the format."""


class Predictor:
    """Predicts one event after the other of a program, greedily."""

    def __init__(
        self, engine: Engine, tokenizer: Tokenizer, context: str, *, max_tokens: int = 1024
    ) -> None:
        """`max_tokens` bounds one event: what the model has not ended by then is damaged."""
        self._engine = engine
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._stops = (tokenizer.special_id(st.FRAME_SEP), tokenizer.special_id(st.END_OF_TEXT))
        self._prompt = _Prompt(tokenizer, context)

    async def next(self, frames: Sequence[Frame], event: Event | None = None) -> Prediction:
        """Predict what follows `frames`; an `event` forces its kind.

        Forcing a return after a call event steps over the call, a line steps into it.

        Raises:
            EngineError: the engine cannot be reached.
            CodecError: a frame cannot be said in the wire format.
        """
        prompt = self._prompt.ids(frames)
        forced = () if event is None else (self._tokenizer.special_id(EVENT_TOKENS[event]),)
        params = SamplingParams(max_tokens=self._max_tokens, stop_token_ids=self._stops)
        made = await self._engine.generate([*prompt, *forced], params)
        ids = (*forced, *made.token_ids)
        if ids[:1] == self._stops[1:]:
            return Prediction(None, Confidence(event=_probability(made.logprobs[:1])))
        found = parse_lenient(ids, self._tokenizer, before=frames)
        problems = tuple(map(_described, found.problems))
        if not found.frames:
            return Prediction(None, Confidence(), problems or ("the model wrote no event",))
        logprobs: list[float | None] = [None] * len(forced) + list(made.logprobs)
        return Prediction(found.frames[0], self._confidence(ids, logprobs), problems)

    def _confidence(self, ids: Sequence[int], logprobs: Sequence[float | None]) -> Confidence:
        """Cut the tokens of one event at its separators."""
        names = [self._tokenizer.special_name(token) for token in ids]
        action = names.index(st.ACTION_SEP) if st.ACTION_SEP in names else len(ids)
        end = names.index(st.FRAME_SEP) if st.FRAME_SEP in names else len(ids)
        arg = names.index(st.ARG_SEP) if st.ARG_SEP in names else end
        return Confidence(
            event=_probability(logprobs[:1]),
            source=_probability(logprobs[action + 1 : min(arg, end)]),
            values=self._values(ids[1:action], logprobs[1:action]),
            value=_probability(logprobs[arg + 1 : end]) if arg < end else None,
        )

    def _values(self, ids: Sequence[int], logprobs: Sequence[float | None]) -> dict[str, float]:
        """Add up the tokens that spell each value of a JSON object."""
        import json

        ends = [len(self._tokenizer.decode(ids[: count + 1])) for count in range(len(ids))]
        found = {}
        for pair in _PAIR.finditer(self._tokenizer.decode(ids)):
            start, stop = pair.span(2)
            inside = [
                logprob
                for logprob, begin, end in zip(logprobs, [0, *ends], ends)
                if begin < stop and end > start
            ]
            probability = _probability(inside)
            if probability is not None:
                found[json.loads(pair[1])] = probability
        return found


class _Prompt:
    """Token ids of a growing list of frames."""

    def __init__(self, tokenizer: Tokenizer, context: str) -> None:
        self._tokenizer = tokenizer
        self._head = self._encoded(list(context_pieces(context)))
        self._restart()

    def _restart(self) -> None:
        self._frames: list[Frame] = []
        self._coder = DiffEncoder()
        self._ids = list(self._head)

    def ids(self, frames: Sequence[Frame]) -> list[int]:
        known = len(self._frames)
        same = known <= len(frames) and all(a is b for a, b in zip(self._frames, frames))
        if not same:
            self._restart()
        for frame in frames[len(self._frames) :]:
            items = list(frame_pieces(frame, len(self._frames), self._coder))
            self._frames.append(frame)
            self._ids += self._encoded(items)
        return self._ids

    def _encoded(self, items: Sequence[Piece]) -> list[int]:
        return [token for tokens in encode_pieces(items, self._tokenizer) for token in tokens]


def _probability(logprobs: Sequence[float | None]) -> float | None:
    known = [each for each in logprobs if each is not None]
    return math.exp(sum(known)) if known else None


def _described(problem: CodecError) -> str:
    return problem.message
