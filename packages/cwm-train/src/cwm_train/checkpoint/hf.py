"""Model directories that `transformers` can load, and reading them back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cwm_core.atomic import atomic_write, disk_errors
from cwm_core.errors import DataError
from cwm_core.text.special_tokens import BEGIN_OF_TEXT, END_OF_TEXT, EOM, EOT, PAD
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.attention.base import Attention
from cwm_train.checkpoint.shards import read_weights as read_shards
from cwm_train.checkpoint.shards import write_shards
from cwm_train.checkpoint.tensors import TENSORS
from cwm_train.checkpoint.tensors import read_weights as read_tensor_weights
from cwm_train.model.config import CwmModelConfig
from cwm_train.model.transformer import CwmForCausalLM


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


def save_pretrained(
    model: CwmForCausalLM,
    tokenizer: Tokenizer | None,
    directory: Path,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the weights (`weights`, or the model's own) and what `save_description` does.

    A large model is cut into several files with an index. Each file appears whole or not at all.
    Raises `RunError` when the disk refuses.
    """
    directory = Path(directory)
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    weights = own_weights(model) if weights is None else weights
    sizes = {name: tensor.nbytes for name, tensor in weights.items()}
    write_shards(directory, sizes, lambda names: {name: weights[name].cpu() for name in names})
    save_description(model, tokenizer, directory)


def save_description(model: CwmForCausalLM, tokenizer: Tokenizer | None, directory: Path) -> None:
    """Write what a model directory holds beside the weights."""
    write_description(model.config, next(model.parameters()).dtype, tokenizer, directory)


def write_description(
    config: CwmModelConfig, dtype: torch.dtype, tokenizer: Tokenizer | None, directory: Path
) -> None:
    """Write the tokenizer's files, generation_config.json and config.json, in this order."""
    if tokenizer is not None:
        with disk_errors(directory):
            tokenizer.save(directory)
    content = {**config.to_hf(), "dtype": str(dtype).removeprefix("torch.")}
    generation = {
        key: content[key]
        for key in ("bos_token_id", "eos_token_id", "pad_token_id")
        if content[key] is not None
    }
    for name, fields in (("generation_config.json", generation), ("config.json", content)):
        atomic_write(directory / name, json.dumps(fields, indent=2) + "\n")


def own_weights(model: CwmForCausalLM) -> dict[str, Tensor]:
    """Return the state dict, a tied head left out."""
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    return weights


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
    check_vocabulary(tokenizer, model.config, directory)
    return model, tokenizer


def check_vocabulary(tokenizer: Tokenizer, config: CwmModelConfig, where: Path) -> None:
    """Raise `DataError` if a tokenizer has ids that a model does not know."""
    if tokenizer.vocab_size > config.vocab_size:
        raise DataError(
            f"{where}: the tokenizer has {tokenizer.vocab_size} ids, the model only "
            f"{config.vocab_size}",
            "use the tokenizer that the model was trained with",
        )


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
    weights = read_weights(Path(directory), device, dtype)
    if config.tie_word_embeddings and "model.embed_tokens.weight" in weights:
        weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    check_weights(model, weights, Path(directory))
    model.load_state_dict(weights, assign=True)
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def read_weights(
    directory: Path, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Read a model directory's weights, or a training checkpoint's; `DataError` if damaged."""
    if (directory / TENSORS).is_dir():
        found = read_tensor_weights(directory / TENSORS)
        return {name: tensor.to(device, dtype) for name, tensor in found.items()}
    return read_shards(directory, device, dtype)


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
