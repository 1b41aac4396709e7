"""From a configuration to the objects of a training run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from cwm_core.components import ComponentConfig
from cwm_core.errors import ConfigError
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.checkpoint.hf import check_weights, read_weights, with_tokenizer
from cwm_train.checkpoint.store import newest_checkpoint
from cwm_train.data.document import DocumentSource
from cwm_train.data.stream import PackedStream
from cwm_train.loop.config import TrainConfig
from cwm_train.loop.precision import wants_bf16
from cwm_train.model.config import CwmModelConfig
from cwm_train.model.recompute import apply_activation_checkpointing
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.apply import spread
from cwm_train.parallel.compiled import compile_layers
from cwm_train.parallel.float8 import use_float8
from cwm_train.parallel.mesh import Grid, build_grid

log = logging.getLogger(__name__)


def build_model(config: TrainConfig, tokenizer: Tokenizer) -> CwmForCausalLM:
    """Build the model for a tokenizer, with fresh weights or those of `init_from`."""
    if not isinstance(config.model, CwmModelConfig):
        raise ConfigError(
            f"model={config.model.name} is no CWM decoder", "`cwm plugins` lists the models"
        )
    shape = with_tokenizer(config.model, tokenizer)
    if config.sequence_length > shape.max_position_embeddings:
        raise ConfigError(
            f"sequence_length ({config.sequence_length}) exceeds the model's "
            f"max_position_embeddings ({shape.max_position_embeddings})",
            "lower sequence_length or raise model.max_position_embeddings",
        )
    torch.manual_seed(config.seed)
    model = shape.build(attention=config.attention.build())
    if config.init_from is not None:
        source = newest_checkpoint(config.init_from)
        weights = read_weights(source)
        if shape.tie_word_embeddings:
            weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
        check_weights(model, weights, source)
        model.load_state_dict(weights)
    return model


def fit_to_hardware(
    config: TrainConfig, model: CwmForCausalLM, device: torch.device
) -> Grid | None:
    """Prepare a model for its device and the processes of the run, in place.

    Returns how the processes are arranged, `None` for one alone. Raises ConfigError where the
    model, the machine or the number of processes does not allow what the configuration asks for.
    """
    if config.float8 != "none":
        use_float8(model, config.float8, device)
    if config.recompute != "none":
        apply_activation_checkpointing(model, config.recompute)
    if config.compile:
        compile_layers(model)
    if not distributed.is_initialized():
        model.to(device)
        return None
    grid = build_grid(config.parallel, device)
    compute = torch.bfloat16 if wants_bf16(config.precision, device) else None
    spread(model, grid, compute, config.parallel.reshard_after_forward, config.z_loss)
    return grid


def build_sources(
    configs: Mapping[str, ComponentConfig], tokenizer: Tokenizer, loss_on: str, cache: Path
) -> dict[str, DocumentSource]:
    """Build sources; those that can keep token ids do so in `cache` unless told otherwise."""
    return {
        name: _with(source, cache=cache, only_unset=True).build(tokenizer, loss_on)
        for name, source in configs.items()
    }


def validation_configs(config: TrainConfig) -> dict[str, ComponentConfig]:
    """Return the validation sources: the given ones, or the split ``validation`` of all others."""
    if config.validation:
        return dict(config.validation)
    return {
        name: _with(source, split="validation")
        for name, source in config.sources.items()
        if "split" in type(source).model_fields
    }


def _with(source: ComponentConfig, only_unset: bool = False, **changes: Any) -> ComponentConfig:
    known = {
        key: value
        for key, value in changes.items()
        if key in type(source).model_fields
        and not (only_unset and getattr(source, key) is not None)
    }
    return source.model_copy(update=known)


def build_stream(config: TrainConfig, tokenizer: Tokenizer, cache: Path) -> PackedStream:
    """Build the endless stream of packed rows."""
    sources = build_sources(config.sources, tokenizer, config.loss_on, cache)
    for name, source in sources.items():
        log.info("source %s: %d documents, %d tokens", name, len(source), source.lengths.sum())
    lengths = {name: source.lengths for name, source in sources.items()}
    mixer = config.mixer.build(lengths, config.seed)
    return PackedStream(sources, mixer, config.sequence_length, config.seed, config.too_long)
