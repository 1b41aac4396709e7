"""Weights in safetensors files of bounded size, written and read one file at a time."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cwm_core.atomic import atomic_path, atomic_write, disk_errors
from cwm_core.errors import DataError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
"""Most bytes of a file, as Hugging Face cuts them."""


def plan_shards(sizes: Mapping[str, int], limit: int = SHARD_BYTES) -> dict[str, list[str]]:
    """Return the tensors of each file, in their order; `sizes` are bytes by name.

    A file exceeds `limit` only if its one tensor does.
    """
    groups: list[list[str]] = []
    room = -1
    for name, size in sizes.items():
        if size > room:
            groups.append([])
            room = limit
        groups[-1].append(name)
        room -= size
    if len(groups) <= 1:
        return {WEIGHTS: list(sizes)}
    return {
        f"model-{number:05d}-of-{len(groups):05d}.safetensors": group
        for number, group in enumerate(groups, 1)
    }


def write_shards(
    directory: Path,
    sizes: Mapping[str, int],
    fetch: Callable[[list[str]], Mapping[str, Tensor]],
    limit: int = SHARD_BYTES,
    keep: bool = False,
    written: Callable[[int], None] = lambda size: None,
) -> None:
    """Write what `fetch` returns for the names of one file after another, and the index last.

    Each file appears whole or not at all; with `keep`, those that are there already are not
    written again. Files of an earlier, differently cut model go at the end. `written` is told the
    bytes of each file. Raises `RunError` when the disk refuses.
    """
    shards = plan_shards(sizes, limit)
    for file, names in shards.items():
        if not (keep and (directory / file).exists()):
            tensors = {name: tensor.contiguous() for name, tensor in fetch(names).items()}
            with atomic_path(directory / file) as temporary, _errors_of_the_system():
                save_file(tensors, temporary, metadata={"format": "pt"})
        written(sum(sizes[name] for name in names))
    if len(shards) > 1:
        where = {name: file for file, names in shards.items() for name in names}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
        atomic_write(directory / INDEX, json.dumps(index, indent=2) + "\n")
    with disk_errors(directory):
        if len(shards) == 1:
            (directory / INDEX).unlink(missing_ok=True)
        for left_over in directory.glob("model*.safetensors"):
            if left_over.name not in shards:
                left_over.unlink()


def read_weights(
    directory: Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Read model.safetensors, or all files that its index names, tensor by tensor.

    Raises `DataError` when a file is missing or damaged.
    """
    index = directory / INDEX
    try:
        files = [WEIGHTS]
        if index.exists():
            files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        weights: dict[str, Tensor] = {}
        for file in files:
            with safe_open(directory / file, "pt", device=str(device)) as content:
                names = content.keys()
                weights |= {name: _as(content.get_tensor(name), dtype) for name in names}
        return weights
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise DataError(
            f"cannot read the weights in {directory}: {error}",
            "give a model directory: <run>/model, or one of <run>/checkpoints",
        ) from error


@contextlib.contextmanager
def _errors_of_the_system() -> Iterator[None]:
    """Raise what safetensors only quotes, "... (os error 28)", as the `OSError` that it is."""
    try:
        yield
    except SafetensorError as error:
        if (found := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number)) from error


def _as(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor if dtype is None else tensor.to(dtype)
