"""Engine: produces and scores tokens, asynchronously."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from cwm_core.errors import RunError


class EngineError(RunError):
    """An engine cannot be reached, or its answer is unusable."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to decode. `temperature` 0 is greedy; generation ends after any of `stop_token_ids`."""

    max_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    """0 switches top-k off."""
    stop_token_ids: tuple[int, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """Generated tokens; a stop token, when hit, is the last of `token_ids`.

    `finish_reason` is ``"stop"`` (a stop token) or ``"length"``. `model_versions` has the version
    of the weights that produced each token, which may change within a completion; `None` where the
    engine does not say.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    text: str = ""
    model_versions: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """Teacher-forced view of a sequence of T tokens.

    `logprobs[t]` (nats) is that of token t given tokens < t, and `greedy_ids[t]` the model's
    argmax there; entry 0 is ``0.0`` and ``-1``: nothing predicts the first token.
    """

    logprobs: tuple[float, ...]
    greedy_ids: tuple[int, ...]


@runtime_checkable
class Engine(Protocol):
    """Produces tokens: our own generator or any OpenAI-compatible server."""

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Continue `prompt_ids`; concurrent calls may be batched together."""
        ...

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Score a whole sequence under teacher forcing."""
        ...

    async def close(self) -> None:
        """Free what the engine holds."""
        ...


@runtime_checkable
class UpdatableEngine(Engine, Protocol):
    """An engine whose weights can be replaced while it generates, as RL needs."""

    async def update_weights(self, weights: Path, version: int) -> None:
        """Go on with the weights of the model directory `weights` from the next token on.

        Tokens produced from then on carry `version`. Returns once the new weights are in use.
        """
        ...
