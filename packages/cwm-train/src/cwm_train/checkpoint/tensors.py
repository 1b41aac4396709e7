"""Tensors of a training run by name, written and read with torch's distributed checkpoints (DCP).

Names do not depend on how the model is spread: what one process wrote, two can read, each its
shards, and the other way round. Reading fills the given tensors in place.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from cwm_core.errors import DataError

TENSORS = "tensors"
"""Directory of the tensors in a checkpoint."""

MODEL, OPTIMIZER, AVERAGES, RANDOM = "model", "optimizer", "averages", "random"
"""What a checkpoint holds: weights, optimizer state, averaged weights, random generators."""


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights by name, one that has two names (a tied head) once."""
    names = {name for name, _ in model.named_parameters()} | dict(model.named_buffers()).keys()
    found = cast("dict[str, Tensor]", get_model_state_dict(model))
    return {name: each for name, each in found.items() if name in names}


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return all weights on the CPU, gathered from all processes, which must all call this.

    Only the first process gets them; the others get none.
    """
    names = {name for name, _ in model.named_parameters()} | dict(model.named_buffers()).keys()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    whole = cast("dict[str, Tensor]", get_model_state_dict(model, options=options))
    return {name: each for name, each in whole.items() if name in names}


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state by parameter and key; a fresh one is filled with zeros.

    Rates and other settings of its groups are the configuration's and left out.
    """
    found = cast("dict[str, dict[str, Any]]", get_optimizer_state_dict(model, optimizer))
    return dict(found["state"])


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """Give an optimizer the state that was read; its settings stay."""
    settings = get_optimizer_state_dict(model, optimizer)["param_groups"]
    set_optimizer_state_dict(model, optimizer, {"state": dict(state), "param_groups": settings})


def write_tensors(tensors: dict[str, Any], directory: Path, group: Any = None) -> None:
    """Write nested tensors; all processes of `group` call this. Raises OSError."""
    try:
        with _no_word_about_one_process():
            dcp.save(
                tensors,
                storage_writer=dcp.FileSystemWriter(directory, single_file_per_rank=True),
                process_group=group,
                no_dist=group is None,
            )
    except CheckpointException as error:
        raise _cause(error) from error


def read_tensors(tensors: dict[str, Any], directory: Path, group: Any = None) -> None:
    """Fill nested tensors, in place, by their names; raise `DataError` where one does not fit."""
    try:
        with _no_word_about_one_process():
            dcp.load(
                tensors,
                storage_reader=dcp.FileSystemReader(directory),
                process_group=group,
                no_dist=group is None,
            )
    except CheckpointException as error:
        cause = _cause(error)
        raise DataError(
            f"{directory}: {str(cause).splitlines()[0]}",
            "it was written for another model or optimizer: give the configuration of that run",
        ) from error


def read_weights(directory: Path) -> dict[str, Tensor]:
    """Read the weights of a checkpoint's model, whole, in one process; raise `DataError`."""
    reader = dcp.FileSystemReader(directory)
    prefix = f"{MODEL}."
    try:
        entries = reader.read_metadata().state_dict_metadata
    except (OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise DataError(f"cannot read the index of {directory}: {error}") from error
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in entries.items()
        if name.startswith(prefix) and isinstance(entry, TensorStorageMetadata)
    }
    read_tensors(tensors, directory)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


@contextmanager
def _no_word_about_one_process() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield


def _cause(error: CheckpointException) -> Exception:
    """The first process's own error; DCP's wrapper is no `Exception`."""
    causes = [cause for cause, _ in error.failures.values()]
    for cause in causes:
        if isinstance(cause, OSError):
            return cause
    return causes[0] if causes and isinstance(causes[0], Exception) else RuntimeError(str(error))
