"""Bodies of requests: OpenAI's fields, with those that vLLM added for token ids and sampling."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from cwm_core.engine.base import SamplingParams
from cwm_core.errors import DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.serve.errors import ApiError

MOST_TOPS = 20
"""Most tokens per step whose log-probabilities a request may ask for."""


class StreamOptions(BaseModel):
    """What a stream tells beside the tokens."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class Sampled(BaseModel):
    """What completions and chat have in common; unknown fields are ignored, as OpenAI's are."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = 0
    n: int = Field(1, ge=1, le=128)
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None
    skip_special_tokens: bool = True
    return_token_ids: bool = False

    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    min_p: float | None = None
    min_tokens: int | None = None
    best_of: int | None = None
    suffix: str | None = None
    response_format: dict[str, Any] | None = None

    _neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        "presence_penalty": (0,),
        "frequency_penalty": (0,),
        "repetition_penalty": (1,),
        "logit_bias": ({},),
        "min_p": (0,),
        "min_tokens": (0,),
        "best_of": (1,),
        "suffix": ("",),
        "response_format": ({"type": "text"},),
    }

    def check(self) -> None:
        """Raise `ApiError` for what would change the answer and is not supported."""
        for name, neutral in self._neutral.items():
            value = getattr(self, name)
            if value is not None and value not in neutral:
                raise ApiError(f"{name} is not supported", f"leave {name} out", param=name)

    def stops(self) -> list[str]:
        """Return the stop strings."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in stops if stop]

    def sampling(
        self, tokenizer: Tokenizer, ends: tuple[int, ...], copy: int, most: int
    ) -> SamplingParams:
        """Return the parameters of the `copy`-th of `n` completions of at most `most` tokens.

        Stop strings that are special tokens stop generation at once; others are `TextStream`'s.
        """
        special = [tokenizer.special_ids[s] for s in self.stops() if s in tokenizer.special_ids]
        return SamplingParams(
            max_tokens=most,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=max(self.top_k, 0),
            stop_token_ids=tuple({*(() if self.ignore_eos else ends), *special})
            + tuple(self.stop_token_ids),
            seed=None if self.seed is None else self.seed + copy,
        )

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionRequest(Sampled):
    """Body of ``POST /v1/completions``."""

    prompt: str | list[int] | list[str] | list[list[int]]
    max_tokens: int = Field(16, ge=0)
    logprobs: int | None = Field(None, ge=0, le=MOST_TOPS)
    prompt_logprobs: int | None = Field(None, ge=0, le=1)
    echo: bool = False
    parse_special: bool = False
    """Whether names of special tokens in a text prompt become those tokens."""
    return_tokens_as_token_ids: bool = False

    def check(self) -> None:
        """Raise `ApiError` for what is not supported."""
        super().check()
        if self.stream and (self.echo or self.prompt_logprobs is not None):
            raise ApiError(
                "a prompt is not echoed in a stream", "set stream to false", param="echo"
            )

    def prompts(self, tokenizer: Tokenizer) -> list[list[int]]:
        """Return the token ids of every prompt."""
        if isinstance(self.prompt, str):
            return [tokenizer.encode(self.prompt, allow_special=self.parse_special)]
        if not self.prompt:
            raise DataError("the prompt is empty", "give text or token ids")
        if all(isinstance(part, int) for part in self.prompt):
            return [cast("list[int]", self.prompt)]
        return [
            tokenizer.encode(p, allow_special=self.parse_special) if isinstance(p, str) else p
            for p in cast("list[str | list[int]]", self.prompt)
        ]


class ChatRequest(Sampled):
    """Body of ``POST /v1/chat/completions``."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MOST_TOPS)
    reasoning_effort: str | None = None
    """``none`` switches reasoning off, as ``chat_template_kwargs={"enable_thinking": false}``."""
    chat_template_kwargs: dict[str, Any] = {}

    def check(self) -> None:
        """Raise `ApiError` for what is not supported."""
        super().check()
        if self.tool_choice not in (None, "auto", "none"):
            raise ApiError(
                "a tool call cannot be forced",
                "set tool_choice to auto or none",
                param="tool_choice",
            )
        unknown = set(self.chat_template_kwargs) - {"enable_thinking", "preserve_previous_think"}
        if unknown:
            raise ApiError(
                f"the chat template has no switch {sorted(unknown)[0]!r}",
                "it has enable_thinking and preserve_previous_think",
                param="chat_template_kwargs",
            )

    @property
    def thinks(self) -> bool:
        """Whether the answer begins with reasoning."""
        return self.reasoning_effort != "none" and bool(
            self.chat_template_kwargs.get("enable_thinking", True)
        )

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools that may be called."""
        return [] if self.tool_choice == "none" else self.tools or []


class TokenizeRequest(BaseModel):
    """Body of ``POST /tokenize``: text or a conversation."""

    model_config = ConfigDict(extra="ignore")

    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    parse_special: bool = False
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] = {}


class DetokenizeRequest(BaseModel):
    """Body of ``POST /detokenize``."""

    model_config = ConfigDict(extra="ignore")

    tokens: list[int]


class UpdateRequest(BaseModel):
    """Body of ``POST /update_weights_from_disk``, SGLang's interface."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    model_path: str
    """Model directory on the server's disk."""
    weight_version: int | None = None
    """Version of the weights; by default one more than the current."""
    load_format: Literal["auto", "safetensors"] | None = None
