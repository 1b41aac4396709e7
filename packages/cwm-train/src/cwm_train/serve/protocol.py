"""Requests and answers of the completions endpoint (OpenAI's, with vLLM's token-id fields)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cwm_core.engine.base import SamplingParams
from cwm_core.errors import DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.generate.score import LocalScores

TOKEN_PREFIX = "token_id:"


class CompletionRequest(BaseModel):
    """Body of ``POST /v1/completions``; unknown fields are ignored, as OpenAI's servers do."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: int = Field(16, ge=0)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = 0
    n: int = Field(1, ge=1, le=128)
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] = []
    logprobs: int | None = Field(None, ge=0, le=1)
    prompt_logprobs: int | None = Field(None, ge=0, le=1)
    echo: bool = False
    stream: bool = False
    skip_special_tokens: bool = True
    parse_special: bool = False
    """Whether names of special tokens in a text prompt become those tokens."""
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool = False

    def prompts(self, tokenizer: Tokenizer) -> list[list[int]]:
        """Return the token ids of every prompt."""
        if isinstance(self.prompt, str):
            return [tokenizer.encode(self.prompt, allow_special=self.parse_special)]
        if not self.prompt:
            raise DataError("the prompt is empty", "give text or token ids")
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return [
            tokenizer.encode(p, allow_special=self.parse_special) if isinstance(p, str) else p
            for p in self.prompt
        ]

    def stops(self) -> list[str]:
        """Return the stop strings."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    def sampling(self, tokenizer: Tokenizer, ends: tuple[int, ...], copy: int) -> SamplingParams:
        """Return the sampling parameters of the `copy`-th of `n` completions.

        Stop strings that are special tokens stop generation at once; see `cut_at_stop` for others.
        """
        special = [tokenizer.special_ids[s] for s in self.stops() if s in tokenizer.special_ids]
        return SamplingParams(
            max_tokens=max(self.max_tokens, 1),
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            stop_token_ids=tuple({*ends, *special, *self.stop_token_ids}),
            seed=None if self.seed is None else self.seed + copy,
        )


def cut_at_stop(text: str, stops: list[str]) -> str | None:
    """Return the text before the first stop string, `None` if it holds none."""
    places = [text.find(stop) for stop in stops if stop in text]
    return text[: min(places)] if places else None


class TokenNames:
    """How tokens appear in an answer."""

    def __init__(self, tokenizer: Tokenizer, as_ids: bool) -> None:
        self._tokenizer, self._as_ids = tokenizer, as_ids

    def __call__(self, token: int) -> str:
        """Return a token's text or its id."""
        return f"{TOKEN_PREFIX}{token}" if self._as_ids else self._tokenizer.decode([token])

    def logprobs(
        self, ids: list[int], values: list[float | None], scores: LocalScores | None
    ) -> dict[str, Any]:
        """Return the ``logprobs`` object; the likeliest token is known for scored ones only."""
        offsets, length = [], 0
        for token in ids:
            offsets.append(length)
            length += len(self._tokenizer.decode([token]))
        return {
            "tokens": [self(token) for token in ids],
            "token_logprobs": values,
            "top_logprobs": self._tops(len(ids), scores),
            "text_offset": offsets,
        }

    def _tops(self, count: int, scores: LocalScores | None) -> list[dict[str, float] | None] | None:
        if scores is None:
            return None
        pairs = list(zip(scores.greedy_ids, scores.greedy_logprobs))[1:]
        known: list[dict[str, float] | None] = [{self(i): value} for i, value in pairs]
        return [None, *known, *[None] * (count - 1 - len(known))]


def prompt_logprobs(ids: list[int], scores: LocalScores) -> list[dict[str, Any] | None]:
    """Return vLLM's ``prompt_logprobs``: per token, the token itself and the likeliest one."""
    rows = zip(ids, scores.logprobs, scores.greedy_ids, scores.greedy_logprobs)
    known: list[dict[str, Any] | None] = [
        {str(best): {"logprob": value}, str(token): {"logprob": own}}
        for token, own, best, value in list(rows)[1:]
    ]
    return [None, *known]
