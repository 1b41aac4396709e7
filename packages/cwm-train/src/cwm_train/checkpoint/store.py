"""Checkpoints of a training run: written whole, verified on load, pruned.

::

    checkpoints/step-00000500/
        model.safetensors config.json ...   a model directory like any other
        state.pt                            optimizer, counters, position in the data, averages
        manifest.json                       SHA-256 of every file; written last
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cwm_core.atomic import disk_errors
from cwm_core.errors import RunError

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STATE = "state.pt"


class CheckpointStore:
    """The checkpoints in one directory."""

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self._keep = keep

    def save(self, step: int, state: dict[str, Any], write_model: Callable[[Path], None]) -> Path:
        """Write the checkpoint of a step and drop the oldest; raise `RunError` if the disk refuses.

        `state` holds tensors and plain values only. The directory gets its name when all is
        written, so one that bears it is whole.
        """
        final = self.directory / f"step-{step:08d}"
        temporary = self.directory / f".{final.name}.tmp"
        with disk_errors(final):
            self._sweep()
            temporary.mkdir(parents=True)
            write_model(temporary)
            torch.save(state, temporary / STATE)
            _write_manifest(temporary, step)
            shutil.rmtree(final, ignore_errors=True)
            temporary.replace(final)
            for old in self.all()[: -self._keep]:
                shutil.rmtree(old)
        return final

    def all(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return sorted(p for p in self.directory.glob("step-*") if p.is_dir())

    def latest(self) -> Path | None:
        """Return the newest undamaged checkpoint, `None` if there are no checkpoints at all.

        Damaged ones are reported in the log and passed over. Raises `RunError` if none is left.
        """
        candidates = self.all()
        for path in reversed(candidates):
            problem = damage(path)
            if problem is None:
                return path
            log.warning(
                "checkpoint %s is damaged (%s); falling back to the one before", path, problem
            )
        if candidates:
            raise RunError(
                f"every checkpoint in {self.directory} is damaged",
                "delete that directory to start the training afresh",
            )
        return None

    def _sweep(self) -> None:
        for leftover in self.directory.glob(".step-*.tmp"):
            shutil.rmtree(leftover)


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Read the state of a checkpoint; only tensors and plain values are unpickled."""
    return torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)


def damage(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint, `None` if every file has its recorded checksum."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text())["files"]
        for name, digest in files.items():
            if _digest(checkpoint / name) != digest:
                return f"{name} does not have its checksum"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _write_manifest(directory: Path, step: int) -> None:
    files = {p.name: _digest(p) for p in sorted(directory.iterdir())}
    (directory / MANIFEST).write_text(json.dumps({"step": step, "files": files}, indent=2) + "\n")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
