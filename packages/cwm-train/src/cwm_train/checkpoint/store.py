"""Checkpoints of a training run: written beside the training, whole or not at all, verified.

::

    checkpoints/step-00000500/
        tensors/          weights, optimizer state, averages, in torch's distributed format (DCP)
        facts.json        counters, position in the data
        config.json ...   what makes it a model directory that `cwm` commands can read
        manifest.json     SHA-256 of every file; written last

Every process writes what it holds; any number of processes can read it. All see one file system.
DCP's index is a pickle: read checkpoints of people you trust only.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.staging import BlockingAsyncStager

from cwm_core.atomic import atomic_write, disk_errors, sync
from cwm_core.errors import RunError
from cwm_train.checkpoint.manifest import MANIFEST, damage, digests, write_manifest
from cwm_train.checkpoint.tensors import TENSORS, write_tensors
from cwm_train.checkpoint.together import Together

log = logging.getLogger(__name__)

FACTS = "facts.json"


class CheckpointStore:
    """The checkpoints in one directory, which all processes of a run share."""

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self._keep = keep
        self._together = Together()
        self._stager = BlockingAsyncStager()
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self,
        step: int,
        tensors: Mapping[str, Any],
        facts: Mapping[str, Any],
        describe: Callable[[Path], None],
        saved: Callable[[Path], None],
    ) -> None:
        """Copy the tensors and write the checkpoint of a step in the background.

        The first process calls `describe` with the directory, now, for further files, and `saved`
        with the final one, later. Waits for the checkpoint before. The directory gets its name
        when all is written, so one that bears it is whole; then the oldest are dropped. Raises
        `RunError` if the disk refused the checkpoint before; every older one stays good.
        """
        self.wait()
        final = self.directory / f"step-{step:08d}"
        temporary = self.directory / f".{final.name}.tmp"
        with disk_errors(final):
            self._together.first(lambda: self._begin(temporary, facts, describe))
        staged = self._stager.stage(dict(tensors))
        self._pending = self._writer.submit(self._write, step, staged, temporary, final, saved)

    def wait(self) -> None:
        """Wait until the last checkpoint is written; raise what its writing raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def raise_if_failed(self) -> None:
        """Raise what the writing of the last checkpoint raised, if it has ended."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def close(self) -> None:
        """End the background writing, the checkpoint in hand included; raise nothing."""
        if self._pending is not None and (error := self._pending.exception()) is not None:
            log.warning("the last checkpoint was not written: %s", error)
        self._pending = None
        self._writer.shutdown()

    @property
    def group(self) -> Any:
        """The processes that read and write checkpoints together; `None` for one alone."""
        return self._together.group

    def all(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return sorted(p for p in self.directory.glob("step-*") if p.is_dir())

    def latest(self) -> Path | None:
        """Return the newest undamaged checkpoint, `None` if there are no checkpoints at all.

        Damaged ones are reported in the log and passed over. Raises `RunError` if none is left.
        Every process reads a share of the files and gets the same answer.
        """
        candidates = self._together.first(self.all)
        for path in reversed(candidates):
            problem = self._damage(path)
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

    def _damage(self, path: Path) -> str | None:
        rank, size = self._together.rank, self._together.size
        found = self._together.each(lambda: damage(path, rank, size))
        return next((text for text in found if text), None)

    def _begin(
        self, temporary: Path, facts: Mapping[str, Any], describe: Callable[[Path], None]
    ) -> None:
        for leftover in self.directory.glob(".step-*.tmp"):
            shutil.rmtree(leftover)
        temporary.mkdir(parents=True)
        describe(temporary)
        atomic_write(temporary / FACTS, json.dumps(facts, indent=2) + "\n")

    def _write(
        self,
        step: int,
        staged: dict[str, Any],
        temporary: Path,
        final: Path,
        saved: Callable[[Path], None],
    ) -> None:
        try:
            with disk_errors(final):
                write_tensors(staged, temporary / TENSORS, self._together.group)
                rank = self._together.rank
                parts = self._together.each(lambda: digests(temporary, rank))
                self._together.first(lambda: self._finish(step, parts, temporary, final))
        except BaseException:
            if self._together.rank == 0:
                shutil.rmtree(temporary, ignore_errors=True)  # it takes space that others need
            raise
        if self._together.rank == 0:
            saved(final)

    def _finish(self, step: int, parts: list[dict[str, str]], temporary: Path, final: Path) -> None:
        write_manifest(temporary, step, parts)
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)
        sync(final.parent)
        for old in self.all()[: -self._keep]:
            shutil.rmtree(old)


def newest_checkpoint(path: Path) -> Path:
    """Return the directory to read from: of a run its newest good checkpoint.

    A model directory or a checkpoint is returned as it is. Raises `RunError` when a checkpoint
    does not have its checksums, or none of a run has.
    """
    if (path / "checkpoints").is_dir():
        return CheckpointStore(path / "checkpoints", keep=1).latest() or path
    if (path / MANIFEST).exists() and (problem := damage(path)) is not None:
        raise RunError(f"checkpoint {path} is damaged: {problem}", "give an older one")
    return path
