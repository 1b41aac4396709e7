"""Weights on their way to the engines: a model directory per version, and a file that names one."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from cwm_core.text.tokenizer import Tokenizer
from cwm_rl.board.files import Published, RunFiles
from cwm_train.checkpoint.hf import save_pretrained
from cwm_train.model.transformer import CwmForCausalLM

KEEP = 3
"""Versions that stay: an engine may still be reading the one before."""


class Publisher:
    """Writes weights so that engines find either the old or the new ones, whole."""

    def __init__(self, files: RunFiles, model: CwmForCausalLM, tokenizer: Tokenizer) -> None:
        self._files, self._model, self._tokenizer = files, model, tokenizer

    def publish(self, version: int, weights: Mapping[str, Tensor]) -> Published:
        """Write a version and make it the one to use; RunError when the disk refuses.

        The directory is renamed into place when it is whole.
        """
        serial = uuid.uuid4().hex[:12]
        final = self._files.weights / f"{version:08d}-{serial}"
        temporary = self._files.weights / f".{final.name}.tmp"
        save_pretrained(self._model, self._tokenizer, temporary, weights)
        temporary.replace(final)
        published = Published(version, str(final.resolve()), serial)
        published.write(self._files.current)
        self._sweep(final)
        return published

    def _sweep(self, newest: Path) -> None:
        """Delete what nobody reads any more, half-written directories included."""
        directories = [path for path in self._files.weights.iterdir() if path.is_dir()]
        kept = [path for path in directories if not path.name.startswith(".")]
        kept.sort(key=lambda path: path.stat().st_mtime)
        for path in directories:
            if path != newest and path not in kept[-KEEP:]:
                shutil.rmtree(path, ignore_errors=True)
