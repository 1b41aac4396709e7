"""Where things are in a run directory, and the small documents that processes exchange.

::

    ledger.jsonl        admitted prompts and what became of them (orchestrator)
    groups/             groups that may still be needed; those in rest/ will not (orchestrator)
    trajectories/       shards of all groups that are settled (orchestrator)
    weights/            the newest versions, and current.json that names the one to use (trainer)
    checkpoints/        what the trainer continues from
    progress.json       what the trainer has used (trainer)
    offer.json          when a step gets no more groups, or the run is to end (orchestrator)
    processes/          per process: sign of life, timeline, output
    model/              the final model
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from cwm_core.atomic import atomic_write, disk_errors
from cwm_core.errors import DataError


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Paths of a run directory."""

    root: Path

    @property
    def ledger(self) -> Path:
        """Admitted prompts and what became of them."""
        return self.root / "ledger.jsonl"

    @property
    def groups(self) -> Path:
        """Groups for the trainer that may still be needed."""
        return self.root / "groups"

    @property
    def rest(self) -> Path:
        """Groups that are not for the trainer, on their way to the shards."""
        return self.groups / "rest"

    @property
    def trajectories(self) -> Path:
        """Shards of all groups that are settled."""
        return self.root / "trajectories"

    @property
    def weights(self) -> Path:
        """Published weights."""
        return self.root / "weights"

    @property
    def current(self) -> Path:
        """Which weights to use."""
        return self.weights / "current.json"

    @property
    def progress(self) -> Path:
        """What the trainer has used."""
        return self.root / "progress.json"

    @property
    def offer(self) -> Path:
        """When a step gets no more groups, or the run is to end."""
        return self.root / "offer.json"

    @property
    def checkpoints(self) -> Path:
        """What the trainer continues from."""
        return self.root / "checkpoints"

    @property
    def processes(self) -> Path:
        """Signs of life, timelines and output of processes."""
        return self.root / "processes"

    @property
    def rollout_metrics(self) -> Path:
        """A line per finished group."""
        return self.root / "groups.jsonl"


@dataclass(frozen=True, slots=True)
class Published:
    """The weights to generate with."""

    version: int
    """Optimizer steps that made them."""
    path: str
    """Model directory."""
    serial: str
    """Differs for every publication: after a return to a checkpoint, versions come again."""

    def write(self, path: Path) -> None:
        """Make this the one to use."""
        atomic_write(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the weights to use, `None` if none have been published."""
        content = read_json(path)
        return None if content is None else cls(**content)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the trainer has used: of groups whose files may still exist."""

    step: int = 0
    """Optimizer steps; the version of the newest weights."""
    serial: str = ""
    """Of the weights that were published with this."""
    used: dict[int, int] = field(default_factory=dict)
    """Step in which each group was used; -1 for one that was too old."""
    durable: tuple[int, ...] = ()
    """Of these, the ones that every kept checkpoint knows: they will never be needed again."""
    tokens: int = 0
    """Trained tokens so far."""
    finished: bool = False
    """Whether the budget is used up."""

    def write(self, path: Path) -> None:
        """Replace the document."""
        atomic_write(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the document; an empty one if there is none."""
        content = read_json(path)
        if content is None:
            return cls()
        used = {int(group): step for group, step in content.pop("used").items()}
        return cls(**{**content, "used": used, "durable": tuple(content["durable"])})


@dataclass(frozen=True, slots=True)
class Offer:
    """What the orchestrator says when it has played long for a step and found too little signal."""

    step: int = -1
    """The trainer's step that gets no more groups than are stored."""
    end: str = ""
    """Why the run is to end there, as nothing is left to learn; empty if it is not."""

    def write(self, path: Path) -> None:
        """Replace the document."""
        atomic_write(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the document; an empty one if there is none."""
        return cls(**(read_json(path) or {}))


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a document that is replaced whole; `None` if there is none; DataError if damaged."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        return content
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", "restore or delete it") from error


def replace_quickly(path: Path, content: dict[str, Any]) -> None:
    """Replace a document whose loss in a power failure would not matter."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        temporary.write_text(json.dumps(content))
        temporary.replace(path)
