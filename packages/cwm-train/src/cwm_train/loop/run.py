"""One training run from configuration to final model."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from accelerate.state import PartialState

from cwm_core.rundir import RunDir
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.loop.config import TrainConfig
from cwm_train.loop.evaluate import validation_batches
from cwm_train.loop.precision import wants_bf16
from cwm_train.loop.setup import (
    build_model,
    build_sources,
    build_stream,
    fit_to_hardware,
    validation_configs,
)
from cwm_train.loop.trainer import Trainer
from cwm_train.model.loss import head_cross_entropy

EVAL_TOKENS = 16384
"""Tokens per validation batch."""


def train_in(run: RunDir, config: TrainConfig) -> Path:
    """Train in an open run directory; return the directory of the final model."""
    if config.threads:
        torch.set_num_threads(config.threads)
    tokenizer = Tokenizer.load(config.tokenizer)
    cache = config.cache or config.out / "tokens"
    with PartialState().main_process_first():  # it writes the token ids, the others read them
        stream = build_stream(config, tokenizer, cache)
        sources = build_sources(validation_configs(config), tokenizer, "predicted", cache)
    rows = max(1, EVAL_TOKENS // config.sequence_length)
    validation = validation_batches(sources, config.eval_documents, config.sequence_length, rows)
    device = PartialState().device
    model = build_model(config, tokenizer)
    if config.z_loss:
        model.head_loss = partial(head_cross_entropy, z_loss=config.z_loss)
    run.log(
        f"{config.model.name or type(config.model).__name__}: "
        f"{model.config.parameter_count():,} parameters on {device}, "
        f"{'bf16' if wants_bf16(config.precision, device) else 'fp32'}"
    )
    grid = fit_to_hardware(config, model, device)
    return Trainer(config, run, model, tokenizer, stream, validation, device, grid).fit()
