"""The release's params.json, and the configuration that it means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cwm_core.errors import ConfigError, DataError
from cwm_train.model.config import CwmModelConfig, RopeParameters


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScaledRope(_Part):
    """Stretch of the rotary frequencies, the formula of Llama 3.1."""

    scale_factor: float = 8
    old_context_len: int = 8192
    low_freq_factor: float = 1
    high_freq_factor: float = 4
    use_attn_scale: Literal[False] = False


class WindowAttention(_Part):
    """Every `window_pattern`-th layer, from the first on, is global."""

    window_pattern: int = 6
    global_window: None = None
    local_window: int | None = None
    global_last_layer: bool = True


class Params(_Part):
    """The key `model` of params.json, with the release's defaults.

    What CWM does not use (biases, latent attention, norms of queries and keys, tied weights) is
    accepted only switched off.
    """

    dim: int = 512
    n_layers: int = 8
    n_heads: int = 8
    n_kv_heads: int | None = None
    head_dim: int | None = None
    max_seq_len: int = 1024
    vocab_size: int
    ffn_dim_multiplier: float | None = None
    ffn_exp: float = 4
    multiple_of: int = 256
    norm_eps: float = 1e-5
    pos_embed_impl: Literal["rope", "scaled_rope"] = "rope"
    rope_theta: float = 10000.0
    scaled_rope: ScaledRope = ScaledRope()
    attn_impl: str = "xformers"
    attn_bias_type: str | None = None
    window_attn: WindowAttention | None = None
    q_lora_rank: Literal[0] = 0
    kv_lora_rank: Literal[0] = 0
    qk_nope_head_dim: int = 128
    qk_rope_head_dim: int = 64
    weight_tying: Literal[False] = False
    qkv_biases: Literal[False] = False
    qk_norm: Literal[False] = False


def read_params(path: Path) -> Params:
    """Read params.json; raises `DataError` if it is unreadable, `ConfigError` if it is no CWM."""
    try:
        return Params(**json.loads(path.read_text())["model"])
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"cannot read {path}: {type(error).__name__}: {error}",
            "give the directory of the release: params.json, .metadata and *.distcp",
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{path}: model.{'.'.join(map(str, first['loc']))}: {first['msg']}",
            "only models of CWM's architecture can be imported",
        ) from error


def model_config(params: Params, intermediate_size: int) -> CwmModelConfig:
    """Return the configuration; the inner width of the feed-forward block is its weights'."""
    window = params.window_attn
    try:
        return CwmModelConfig(
            vocab_size=params.vocab_size,
            hidden_size=params.dim,
            intermediate_size=intermediate_size,
            num_hidden_layers=params.n_layers,
            num_attention_heads=params.n_heads,
            num_key_value_heads=params.n_kv_heads or params.n_heads,
            head_dim=params.head_dim or params.dim // params.n_heads,
            max_position_embeddings=params.max_seq_len,
            rms_norm_eps=params.norm_eps,
            rope_parameters=_rope(params),
            sliding_window=(window and window.local_window) or params.max_seq_len,
            pattern=_pattern(window),
        )
    except ValidationError as error:
        raise ConfigError(f"params.json: {error}") from error


def _rope(params: Params) -> RopeParameters:
    if params.pos_embed_impl == "rope":
        return RopeParameters(rope_type="default", rope_theta=params.rope_theta)
    scaled = params.scaled_rope
    return RopeParameters(
        rope_theta=params.rope_theta,
        factor=scaled.scale_factor,
        low_freq_factor=scaled.low_freq_factor,
        high_freq_factor=scaled.high_freq_factor,
        original_max_position_embeddings=scaled.old_context_len,
    )


def _pattern(window: WindowAttention | None) -> str:
    if window is None or window.window_pattern == 1:
        return "f"
    repeated = "f" + "s" * (window.window_pattern - 1)
    return f"{repeated}+f" if window.global_last_layer else repeated
