"""Import of the original release's layout: params.json and weights as a torch DCP directory.

The release names its weights in its own way and rotates neighbouring pairs of a head's values,
where Hugging Face's layout rotates the halves: rows of the query and key projections change places
(`half_split`). Nothing is computed, so the weights stay bit-identical. DCP's index is a pickle:
import only what comes from a source that you trust.
Shapes: H heads, F rotary frequencies, D width.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from cwm_core.atomic import atomic_write
from cwm_core.errors import DataError
from cwm_core.progress import progress
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.checkpoint.hf import check_vocabulary, write_description
from cwm_train.checkpoint.native_config import model_config, read_params
from cwm_train.checkpoint.shards import SHARD_BYTES, write_shards
from cwm_train.model.config import CwmModelConfig
from cwm_train.model.transformer import CwmForCausalLM

MARKER = "import.json"
"""Says in the model directory where its weights come from; files of the same import are kept."""

_NAMES = {
    "tok_embeddings": "model.embed_tokens",
    "norm": "model.norm",
    "output": "lm_head",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_HINT = "give the directory of the release: params.json, .metadata and *.distcp"


def hf_name(native: str) -> str | None:
    """Return Hugging Face's name of a weight of the release, `None` if it has none.

    >>> hf_name("layers.3.attention.wq.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    match = re.fullmatch(r"(?:layers\.(\d+)\.)?([a-z0-9_.]+)\.weight", native)
    if match is None or (name := _NAMES.get(match[2])) is None:
        return None
    if (match[1] is None) != name.startswith(("model.", "lm_head")):
        return None
    return f"{name}.weight" if match[1] is None else f"model.layers.{match[1]}.{name}.weight"


def half_split(weight: Tensor, head_dim: int) -> Tensor:
    """Move rows of a query or key projection, (H * 2F, D), from pairs to halves of each head."""
    pairs_hf2d = weight.unflatten(0, (-1, head_dim // 2, 2))
    return pairs_hf2d.transpose(1, 2).flatten(0, 2)


class NativeCheckpoint:
    """A release on the disk: its configuration, and its weights under Hugging Face's names."""

    def __init__(self, directory: Path) -> None:
        """Read the index; raises `DataError` when the directory is no release or lacks weights."""
        self.directory = Path(directory)
        params = read_params(self.directory / "params.json")
        try:
            self._reader = FileSystemReader(self.directory)
            entries = self._reader.read_metadata().state_dict_metadata
        except (OSError, pickle.UnpicklingError, EOFError, CheckpointException) as error:
            raise DataError(f"cannot read {self.directory}/.metadata: {error}", _HINT) from error
        tensors = {k: v for k, v in entries.items() if isinstance(v, TensorStorageMetadata)}
        names = {key: hf_name(key.removeprefix("model.")) for key in tensors}
        self._keys = {name: key for key, name in names.items() if name is not None}
        self._tensors = {name: tensors[key] for name, key in self._keys.items()}
        self.config = model_config(params, self._shape("model.layers.0.mlp.gate_proj.weight")[0])
        self._check()

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._tensors:
            raise DataError(f"{self.directory}: weight {name} is missing", _HINT)
        return tuple(self._tensors[name].size)

    def _check(self) -> None:
        """Raise `DataError` unless every weight of the configuration is there in its shape."""
        with torch.device("meta"):
            wanted = CwmForCausalLM(self.config).state_dict()
        for name, tensor in wanted.items():
            if self._shape(name) != tuple(tensor.shape):
                raise DataError(
                    f"{self.directory}: {self._keys[name]} has shape {self._shape(name)}; "
                    f"params.json says {tuple(tensor.shape)}",
                    "params.json and the weights must come from one release",
                )
        self.names = list(wanted)

    def sizes(self, dtype: torch.dtype | None) -> dict[str, int]:
        """Return the bytes of every weight in a precision, `None` for that of the release."""
        return {
            name: self._tensors[name].size.numel()
            * (dtype or self._tensors[name].properties.dtype).itemsize
            for name in self.names
        }

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the release's weights."""
        return self._tensors[self.names[0]].properties.dtype

    def read(self, names: list[str], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Read some weights, under Hugging Face's names and in its order of rows."""
        native = {
            self._keys[name]: torch.empty(
                self._shape(name), dtype=self._tensors[name].properties.dtype
            )
            for name in names
        }
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is disabled")
                dcp.load(native, storage_reader=self._reader, no_dist=True)
        except (CheckpointException, OSError, RuntimeError, EOFError) as error:
            raise DataError(
                f"{self.directory}: cannot read the weights: {str(error)[:500]}",
                "a file is damaged or missing; download it again",
            ) from error
        return {name: self._converted(name, native.pop(self._keys[name]), dtype) for name in names}

    def _converted(self, name: str, weight: Tensor, dtype: torch.dtype | None) -> Tensor:
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = half_split(weight, self.config.head_dim)
        return weight if dtype is None else weight.to(dtype)

    def identity(self) -> str:
        """Return a digest of the configuration and the index."""
        digest = hashlib.sha256()
        for file in ("params.json", ".metadata"):
            digest.update((self.directory / file).read_bytes())
        return digest.hexdigest()


def import_native(
    source: Path,
    out: Path,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
    tokenizer: Tokenizer | None = None,
) -> CwmModelConfig:
    """Write a release as a model directory; never more than one file's weights are in memory.

    The same import continues where it was interrupted. Raises `DataError` for what is no release
    or does not fit together, `RunError` when the disk refuses.
    """
    checkpoint, out = NativeCheckpoint(source), Path(out)
    if tokenizer is not None:
        check_vocabulary(tokenizer, checkpoint.config, source)
    sizes = checkpoint.sizes(dtype)
    marker = _marker(checkpoint, dtype, shard_bytes)
    again = _same(out / MARKER, marker)
    if not again:
        atomic_write(out / MARKER, json.dumps(marker, indent=2) + "\n")
    with progress(sum(sizes.values()), "import", "B") as bar:
        write_shards(
            out,
            sizes,
            lambda names: checkpoint.read(names, dtype),
            shard_bytes,
            keep=again,
            written=bar.advance,
        )
    write_description(checkpoint.config, dtype or checkpoint.dtype, tokenizer, out)
    return checkpoint.config


def _marker(
    checkpoint: NativeCheckpoint, dtype: torch.dtype | None, shard_bytes: int
) -> Mapping[str, Any]:
    return {
        "source": checkpoint.directory.name,
        "sha256": checkpoint.identity(),
        "dtype": str(dtype or checkpoint.dtype),
        "shard_bytes": shard_bytes,
    }


def _same(path: Path, marker: Mapping[str, Any]) -> bool:
    try:
        return bool(json.loads(path.read_text()) == marker)
    except (OSError, ValueError):
        return False
