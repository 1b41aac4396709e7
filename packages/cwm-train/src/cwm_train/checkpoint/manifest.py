"""Checksums of the files of a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from cwm_core.atomic import atomic_write
from cwm_train.checkpoint.tensors import TENSORS

MANIFEST = "manifest.json"


def digests(directory: Path, rank: int = 0) -> dict[str, str]:
    """Return the SHA-256 of the files that a process wrote, by name; the first also the shared.

    DCP calls the files of process R ``__R_*``.
    """
    own = sorted((directory / TENSORS).glob(f"__{rank}_*"))
    if rank == 0:
        own += sorted(
            p for p in directory.rglob("*") if p.is_file() and not p.name.startswith("__")
        )
    return {path.relative_to(directory).as_posix(): _digest(path) for path in own}


def write_manifest(directory: Path, step: int, parts: Iterable[Mapping[str, str]]) -> None:
    """Write down the checksums that all processes found."""
    files = {name: digest for part in parts for name, digest in sorted(part.items())}
    atomic_write(directory / MANIFEST, json.dumps({"step": step, "files": files}, indent=2) + "\n")


def damage(checkpoint: Path, share: int = 0, of: int = 1) -> str | None:
    """Say what is wrong with a checkpoint, `None` if every file has its recorded checksum.

    With `of` processes, each reads every `of`-th file, from its `share` on.
    """
    try:
        files = json.loads((checkpoint / MANIFEST).read_text())["files"]
        for name, digest in sorted(files.items())[share::of]:
            if _digest(checkpoint / name) != digest:
                return f"{name} does not have its checksum"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
