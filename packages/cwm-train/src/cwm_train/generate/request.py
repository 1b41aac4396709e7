"""A request on its way to a completion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cwm_core.engine.base import Completion, SamplingParams
from cwm_core.errors import ConfigError, ContextLengthError, DataError
from cwm_train.generate.sampling import uniforms
from cwm_train.model.config import CwmModelConfig

Tops = tuple[tuple[int, float], ...]
"""The likeliest tokens with their log-probabilities."""


@dataclass(frozen=True, slots=True)
class LocalCompletion(Completion):
    """A completion with the likeliest tokens of each step, and how much was not computed anew."""

    top_logprobs: tuple[Tops, ...] = ()
    cached_tokens: int = 0
    """Tokens of the prompt whose keys and values were there already."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is streamed; `finish_reason` is empty but for the last."""

    token_id: int
    logprob: float
    top_logprobs: Tops
    model_version: int
    finish_reason: str


@dataclass(eq=False)
class Request:
    """What was asked, and what has been generated so far."""

    prompt: list[int]
    params: SamplingParams
    top_logprobs: int = 0
    on_token: Callable[[Token], None] | None = None
    """Called in the engine's thread."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[Tops] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    finish_reason: str = ""
    cached_tokens: int = 0

    def __post_init__(self) -> None:
        self.uniforms = uniforms(self.params.seed)
        self.stops = frozenset(self.params.stop_token_ids)

    @property
    def ids(self) -> list[int]:
        """Prompt and generated tokens."""
        return self.prompt + self.token_ids

    @property
    def length(self) -> int:
        """Number of `ids`."""
        return len(self.prompt) + len(self.token_ids)

    def needs(self, context: int) -> int:
        """Return the most slots that the request can come to use."""
        return min(len(self.prompt) + self.params.max_tokens, context)

    def add(self, token: int, logprob: float, tops: Tops, version: int, context: int) -> None:
        """Take the next token in."""
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.versions.append(version)
        if self.top_logprobs:
            self.tops.append(tops)
        if token in self.stops:
            self.finish_reason = "stop"
        elif len(self.token_ids) >= self.params.max_tokens or self.length >= context:
            self.finish_reason = "length"
        if self.on_token is not None:
            self.on_token(Token(token, logprob, tops, version, self.finish_reason))

    def completion(self, text: str = "") -> LocalCompletion:
        """Return what has been generated."""
        return LocalCompletion(
            tuple(self.token_ids),
            tuple(self.logprobs),
            self.finish_reason,
            text,
            tuple(self.versions),
            tuple(self.tops),
            self.cached_tokens,
        )


def check_prompt(prompt: Sequence[int], config: CwmModelConfig, room: int = 1) -> None:
    """Raise `DataError` for an empty or too long prompt, or ids outside the vocabulary.

    `room` is how many tokens of the context must be left.
    """
    if not prompt:
        raise DataError("the prompt is empty", "give at least one token")
    if len(prompt) + room > config.max_position_embeddings:
        raise ContextLengthError(
            f"the prompt has {len(prompt)} tokens; the model's context is "
            f"{config.max_position_embeddings}",
            "shorten the prompt",
        )
    if min(prompt) < 0 or max(prompt) >= config.vocab_size:
        raise DataError(
            f"the prompt has ids outside the vocabulary of {config.vocab_size}",
            "encode it with the tokenizer of this model",
        )


def check_params(params: SamplingParams) -> None:
    """Raise `ConfigError` for sampling parameters that mean nothing."""
    checks = [
        ("max_tokens", params.max_tokens >= 1, "at least 1"),
        ("temperature", 0 <= params.temperature < float("inf"), "0 (greedy) or more"),
        ("top_p", 0 < params.top_p <= 1, "above 0 and at most 1"),
        ("top_k", params.top_k >= 0, "0 (off) or more"),
    ]
    for name, good, wanted in checks:
        if not good:
            raise ConfigError(f"{name} is {getattr(params, name)}", f"{name} must be {wanted}")
