"""Model configuration and presets; the fields are those of Hugging Face's `CwmConfig`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cwm_core.errors import ConfigError, DataError
from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    from cwm_train.attention.base import Attention
    from cwm_train.model.transformer import CwmForCausalLM

FULL: Final = "full_attention"
SLIDING: Final = "sliding_attention"
PATTERN: Final = r"^[fs]+(\+[fs]+)?$"
"""What `pattern` looks like."""
LayerType = Literal["full_attention", "sliding_attention"]
Initialisation = Literal["normal", "fan_in", "induction"]


class RopeParameters(BaseModel):
    """Rotary position embedding; ``llama3`` stretches low frequencies by `factor`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rope_type: Literal["default", "llama3"] = "llama3"
    """``default`` is plain RoPE; ``llama3`` scales frequencies as Llama 3.1 does."""
    rope_theta: float = Field(1_000_000.0, gt=0)
    """Base of the geometric series of wavelengths."""
    factor: float = Field(16.0, ge=1)
    """How much longer the longest wavelengths become (llama3)."""
    low_freq_factor: float = 1.0
    """Wavelengths above original/low_freq_factor are stretched in full (llama3)."""
    high_freq_factor: float = 4.0
    """Wavelengths below original/high_freq_factor stay as they are (llama3)."""
    original_max_position_embeddings: int = 8192
    """Context length before the stretch, in tokens (llama3)."""

    def to_hf(self) -> dict[str, Any]:
        """Return the dictionary that `config.json` holds."""
        if self.rope_type == "default":
            return {"rope_type": "default", "rope_theta": self.rope_theta}
        return self.model_dump()


class CwmModelConfig(ComponentConfig):
    """Shape of a CWM decoder; defaults are those of the released 32 B model."""

    vocab_size: int = Field(128256, gt=0)
    """Rows of the embedding; training takes it from the tokenizer."""
    hidden_size: int = Field(6144, gt=0)
    """Width of the residual stream."""
    intermediate_size: int = Field(21504, gt=0)
    """Inner width of the SwiGLU feed-forward block."""
    num_hidden_layers: int = Field(64, gt=0)
    """Number of decoder layers."""
    num_attention_heads: int = Field(48, gt=0)
    """Query heads."""
    num_key_value_heads: int = Field(8, gt=0)
    """Key and value heads, each shared by a group of query heads."""
    head_dim: int = Field(128, gt=0, multiple_of=2)
    """Width of one head."""
    hidden_act: Literal["silu"] = "silu"
    """Gate activation of the feed-forward block."""
    max_position_embeddings: int = Field(131072, gt=0)
    """Longest context in tokens."""
    initializer_range: float = Field(0.02, gt=0)
    """Standard deviation of the initial weights (of the embeddings only with ``fan_in``)."""
    rms_norm_eps: float = Field(1e-5, gt=0)
    """Added to the mean square in RMSNorm."""
    tie_word_embeddings: bool = False
    """Whether the output head is the embedding matrix."""
    rope_parameters: RopeParameters = RopeParameters()
    """Rotary position embedding."""
    sliding_window: int = Field(8192, gt=0)
    """Tokens that a sliding layer sees, the current one included."""
    pattern: str = Field("fsss", pattern=PATTERN)
    """Kinds of the layers, `f` full and `s` sliding, repeated over the depth; what follows a `+`
    replaces the last ones: ``fsss`` is Hugging Face's default, ``fsss+f`` the release's own."""
    layer_types: tuple[LayerType, ...] | None = None
    """Kind of each layer one by one, instead of `pattern`."""
    mlp_bias: Literal[False] = False
    """CWM has no biases."""
    attention_dropout: float = Field(0.0, ge=0, le=0)
    """CWM is trained without dropout."""
    bos_token_id: int | None = 128000
    """Id that opens a sequence."""
    eos_token_id: tuple[int, ...] = (128001, 128008, 128009)
    """Ids after which generation stops."""
    pad_token_id: int | None = None
    """Id that fills up batches."""
    init: Initialisation = "normal"
    """``normal``: every weight from N(0, initializer_range); ``fan_in``: std fan_in**-0.5 and zero
    output projections, so that every layer begins as the identity; ``induction``: the same, and
    two layers that begin as induction heads (not part of config.json)."""

    @model_validator(mode="after")
    def _consistent(self) -> CwmModelConfig:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_attention_heads}) is not a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(
                f"layer_types has {len(self.layer_types)} entries for "
                f"{self.num_hidden_layers} layers"
            )
        return self

    @property
    def layer_pattern(self) -> tuple[LayerType, ...]:
        """Kind of each layer: `layer_types`, or `pattern` over the depth."""
        if self.layer_types is not None:
            return self.layer_types
        repeated, _, last = self.pattern.partition("+")
        layers = self.num_hidden_layers
        letters = (repeated * layers)[: max(0, layers - len(last))] + last[-layers:]
        return tuple(FULL if letter == "f" else SLIDING for letter in letters)

    def window(self, layer: int) -> int | None:
        """Return the window of a layer in tokens, `None` for full attention."""
        return self.sliding_window if self.layer_pattern[layer] == SLIDING else None

    def parameter_count(self) -> int:
        """Return the number of parameters, from the shapes alone."""
        d, heads = self.hidden_size, self.num_attention_heads + self.num_key_value_heads
        layer = 2 * d * heads * self.head_dim + 3 * d * self.intermediate_size + 2 * d
        embeddings = self.vocab_size * d * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * layer + d

    def to_hf(self) -> dict[str, Any]:
        """Return the content of a Hugging Face `config.json`."""
        fields = self.model_dump(exclude={"name", "init", "pattern", "rope_parameters"})
        return {
            "architectures": ["CwmForCausalLM"],
            "model_type": "cwm",
            **fields,
            "eos_token_id": list(self.eos_token_id),
            "layer_types": list(self.layer_pattern),
            "rope_parameters": self.rope_parameters.to_hf(),
            "dtype": "float32",
        }

    @classmethod
    def from_hf(cls, config: Mapping[str, Any], where: str = "config.json") -> CwmModelConfig:
        """Read a Hugging Face `config.json`; raise `ConfigError` if it is no CWM model."""
        if config.get("model_type") != "cwm":
            raise ConfigError(
                f"{where}: model_type is {config.get('model_type')!r}, not 'cwm'",
                "give the directory of a CWM model",
            )
        config = {**config, "rope_parameters": _rope_of(config)}
        known = {k: v for k, v in config.items() if k in cls.model_fields and v is not None}
        if isinstance(known.get("eos_token_id"), int):
            known["eos_token_id"] = (known["eos_token_id"],)
        try:
            return CwmModelConfig(**known)
        except ValidationError as error:
            raise ConfigError(f"{where}: {error}") from error

    @classmethod
    def load(cls, directory: Path) -> CwmModelConfig:
        """Read `directory/config.json`; raise `DataError` if it is missing or unreadable."""
        path = Path(directory) / "config.json"
        try:
            return cls.from_hf(json.loads(path.read_text()), str(path))
        except (OSError, json.JSONDecodeError) as error:
            raise DataError(
                f"cannot read the model configuration {path}: {error}",
                "a model directory holds config.json, model.safetensors and tokenizer.json",
            ) from error

    def build(
        self, vocab_size: int | None = None, attention: Attention | None = None
    ) -> CwmForCausalLM:
        """Build the model with fresh weights (torch's global seed decides them)."""
        from cwm_train.model.transformer import CwmForCausalLM

        config = self if vocab_size is None else self.model_copy(update={"vocab_size": vocab_size})
        return CwmForCausalLM(config, attention)


def _rope_of(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the rotary parameters; before version 5, `transformers` wrote them in two keys."""
    if "rope_theta" not in config:
        return config.get("rope_parameters")
    scaling = config.get("rope_scaling") or {"rope_type": "default"}
    return {**scaling, "rope_theta": config["rope_theta"]}


SMALL_ROPE = RopeParameters(rope_type="default", rope_theta=1_000_000.0)


class CwmTiny(CwmModelConfig):
    """0.8 M parameters beside the embeddings: learns traces on a laptop in minutes."""

    vocab_size: int = Field(1024, gt=0)
    hidden_size: int = Field(128, gt=0)
    intermediate_size: int = Field(352, gt=0)
    num_hidden_layers: int = Field(4, gt=0)
    num_attention_heads: int = Field(4, gt=0)
    num_key_value_heads: int = Field(4, gt=0)
    head_dim: int = Field(32, gt=0, multiple_of=2)
    max_position_embeddings: int = Field(4096, gt=0)
    rope_parameters: RopeParameters = SMALL_ROPE
    sliding_window: int = Field(64, gt=0)
    pattern: str = Field("sffs", pattern=PATTERN)
    init: Initialisation = "induction"


class CwmMini(CwmTiny):
    """5 M parameters beside the embeddings: an hour on a laptop."""

    vocab_size: int = Field(2048, gt=0)
    hidden_size: int = Field(256, gt=0)
    intermediate_size: int = Field(704, gt=0)
    num_hidden_layers: int = Field(6, gt=0)
    head_dim: int = Field(64, gt=0, multiple_of=2)
    max_position_embeddings: int = Field(8192, gt=0)
    sliding_window: int = Field(128, gt=0)


class Cwm150m(CwmModelConfig):
    """160 M parameters with the full vocabulary: one consumer GPU."""

    hidden_size: int = Field(768, gt=0)
    intermediate_size: int = Field(1536, gt=0)
    num_hidden_layers: int = Field(12, gt=0)
    num_attention_heads: int = Field(12, gt=0)
    num_key_value_heads: int = Field(4, gt=0)
    head_dim: int = Field(64, gt=0, multiple_of=2)
    tie_word_embeddings: bool = True


class Cwm1b(CwmModelConfig):
    """1 B parameters: one large GPU."""

    hidden_size: int = Field(2048, gt=0)
    intermediate_size: int = Field(5632, gt=0)
    num_hidden_layers: int = Field(16, gt=0)
    num_attention_heads: int = Field(32, gt=0)
    num_key_value_heads: int = Field(8, gt=0)
    head_dim: int = Field(64, gt=0, multiple_of=2)
    tie_word_embeddings: bool = True


class Cwm3b(CwmModelConfig):
    """3 B parameters: a node of GPUs."""

    hidden_size: int = Field(3072, gt=0)
    intermediate_size: int = Field(8192, gt=0)
    num_hidden_layers: int = Field(26, gt=0)
    num_attention_heads: int = Field(24, gt=0)
    num_key_value_heads: int = Field(8, gt=0)
    tie_word_embeddings: bool = True


class Cwm8b(CwmModelConfig):
    """8 B parameters, the size of the ablations."""

    hidden_size: int = Field(4096, gt=0)
    intermediate_size: int = Field(14336, gt=0)
    num_hidden_layers: int = Field(32, gt=0)
    num_attention_heads: int = Field(32, gt=0)


class Cwm32b(CwmModelConfig):
    """The released model: 32,581,097,472 parameters."""
