"""Model directories that `transformers` can load, and reading them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cwm_core.atomic import atomic_path, atomic_write, disk_errors
from cwm_core.errors import DataError
from cwm_core.text.special_tokens import BEGIN_OF_TEXT, END_OF_TEXT, EOM, EOT, PAD
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.attention.base import Attention
from cwm_train.model.config import CwmModelConfig
from cwm_train.model.transformer import CwmForCausalLM

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def with_tokenizer(config: CwmModelConfig, tokenizer: Tokenizer) -> CwmModelConfig:
    """Return the config with the vocabulary size and special ids of a tokenizer."""
    ids = tokenizer.special_ids
    stops = tuple(ids[name] for name in (END_OF_TEXT, EOM, EOT) if name in ids)
    return config.model_copy(
        update={
            "vocab_size": tokenizer.vocab_size,
            "bos_token_id": ids.get(BEGIN_OF_TEXT),
            "eos_token_id": stops,
            "pad_token_id": ids.get(PAD),
        }
    )


def save_pretrained(model: CwmForCausalLM, tokenizer: Tokenizer | None, directory: Path) -> None:
    """Write config.json, generation_config.json, model.safetensors and the tokenizer's files.

    Each file appears whole or not at all. Raises `RunError` when the disk refuses.
    """
    directory = Path(directory)
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    config = {**model.config.to_hf(), "dtype": dtype}
    generation = {
        key: config[key]
        for key in ("bos_token_id", "eos_token_id", "pad_token_id")
        if config[key] is not None
    }
    weights = {name: tensor.contiguous().cpu() for name, tensor in own_weights(model).items()}
    with atomic_path(directory / WEIGHTS) as temporary:
        save_file(weights, temporary, metadata={"format": "pt"})
    _write_json(directory / "generation_config.json", generation)
    if tokenizer is not None:
        with disk_errors(directory):
            tokenizer.save(directory)
    _write_json(directory / "config.json", config)


def own_weights(model: CwmForCausalLM) -> dict[str, Tensor]:
    """Return the state dict, a tied head left out."""
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    return weights


def _write_json(path: Path, content: dict[str, Any]) -> None:
    atomic_write(path, json.dumps(content, indent=2) + "\n")


def load_pretrained(
    directory: Path,
    attention: Attention | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> tuple[CwmForCausalLM, Tokenizer]:
    """Load a model directory and its tokenizer; raise `DataError` when something is amiss."""
    directory = Path(directory)
    model = load_model(directory, attention, device, dtype)
    tokenizer = Tokenizer.load(directory)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise DataError(
            f"{directory}: the tokenizer has {tokenizer.vocab_size} ids, the model only "
            f"{model.config.vocab_size}",
            "use the tokenizer that the model was trained with",
        )
    return model, tokenizer


def load_model(
    directory: Path,
    attention: Attention | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> CwmForCausalLM:
    """Load the model alone, for inference, without drawing fresh weights first."""
    config = CwmModelConfig.load(directory)
    with torch.device("meta"):
        model = CwmForCausalLM(config, attention)
    weights = read_weights(Path(directory))
    if config.tie_word_embeddings and "model.embed_tokens.weight" in weights:
        weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    check_weights(model, weights, Path(directory))
    weights = {name: tensor.to(device, dtype) for name, tensor in weights.items()}
    model.load_state_dict(weights, assign=True)
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def read_weights(directory: Path) -> dict[str, Tensor]:
    """Read model.safetensors, or all shards that its index names."""
    index = directory / INDEX
    try:
        names = (
            sorted(set(json.loads(index.read_text())["weight_map"].values()))
            if index.exists()
            else [WEIGHTS]
        )
        weights: dict[str, Tensor] = {}
        for name in names:
            weights |= load_file(directory / name)
        return weights
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise DataError(
            f"cannot read the weights in {directory}: {error}",
            "give a model directory: <run>/model, or one of <run>/checkpoints",
        ) from error


def check_weights(model: CwmForCausalLM, weights: dict[str, Tensor], where: Path) -> None:
    """Raise `DataError` that names the first weight that is missing, unknown or misshapen."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise DataError(
                f"{where}: weight {name} has shape {found.get(name, 'none (it is missing)')}, the "
                f"model wants {wanted.get(name, 'no such weight')}",
                "use the weights of a model of the same configuration",
            )
