"""From a configuration to the objects of a trainer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from cwm_core.errors import DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_rl.train_config import RlConfig
from cwm_rl.trainer.step import Learner, frozen_copy
from cwm_train.checkpoint.hf import check_vocabulary, load_model
from cwm_train.checkpoint.store import newest_checkpoint
from cwm_train.loop.precision import wants_bf16
from cwm_train.model.recompute import apply_activation_checkpointing
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.apply import spread
from cwm_train.parallel.config import ParallelConfig
from cwm_train.parallel.mesh import Grid, build_grid


def initial_directory(path: Path) -> Path:
    """Return the model directory that `init_from` means; DataError if it is none.

    Of a finished run of `cwm train` it is the final model, else its newest checkpoint.
    """
    if (path / "model" / "config.json").is_file():
        return path / "model"
    found = newest_checkpoint(path)
    if not (found / "config.json").is_file():
        raise DataError(
            f"init_from: {path} is no model directory, checkpoint or training run",
            "give the run directory of `cwm train`, or its model/",
        )
    return found


def load_policy(config: RlConfig) -> tuple[CwmForCausalLM, Tokenizer]:
    """Load the model to start from, in fp32, and its tokenizer."""
    source = initial_directory(config.init_from)
    model = load_model(source, config.attention.build(), dtype=torch.float32)
    tokenizer = Tokenizer.load(source)
    check_vocabulary(tokenizer, model.config, source)
    return model.train(), tokenizer


def join_processes(config: RlConfig) -> torch.device:
    """Join the other processes of the launcher, if there are any; return the device to use."""
    from accelerate.state import PartialState

    cpu = config.trainer.device == "cpu" or not torch.accelerator.is_available()
    timeout = timedelta(seconds=config.trainer.timeout_s)
    return PartialState(cpu=cpu, timeout=timeout).device


def fit_to_hardware(
    config: RlConfig, model: CwmForCausalLM, device: torch.device, bf16: bool
) -> Grid | None:
    """Move the model to its device or spread it over the processes; return their arrangement."""
    if config.recompute != "none":
        apply_activation_checkpointing(model, config.recompute)
    if not distributed.is_initialized():
        model.to(device)
        return None
    grid = build_grid(ParallelConfig(), device)
    spread(model, grid, torch.bfloat16 if bf16 else None)
    return grid


def build_learner(
    config: RlConfig, model: CwmForCausalLM, device: torch.device
) -> tuple[Learner, Grid | None]:
    """Prepare the model and what adds up its gradient."""
    bf16 = wants_bf16(config.precision, device)
    objective = config.loss.build()
    reference = frozen_copy(model) if objective.needs_reference else None
    grid = fit_to_hardware(config, model, device, bf16)
    if reference is not None:
        fit_to_hardware(config, reference, device, bf16)
    learner = Learner(
        model,
        objective,
        mismatch=config.mismatch,
        mismatch_cap=config.mismatch_cap,
        bf16=bf16,
        invariant=config.batch_invariant,
        gradient_parts=grid.gradient_parts if grid else 1,
        reference=reference,
    )
    return learner, grid
