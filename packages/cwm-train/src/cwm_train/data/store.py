"""Token ids on disk: written as a stream, mapped into memory to be read."""

from __future__ import annotations

import json
import shutil
import tempfile
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cwm_core.atomic import disk_errors, sync
from cwm_core.errors import DataError


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tokenised document and where it comes from."""

    ids: npt.ArrayLike
    codes: npt.NDArray[np.uint8]
    """Span codes, one per token (`cwm_train.data.spans`)."""
    row: int
    """Line or row in its file, as people count it."""
    file: int = 0
    """Number of its file among those that are stored together."""


_ARRAYS = {"ids": np.int32, "codes": np.uint8, "offsets": np.int64, "rows": np.int64,
           "files": np.int32}  # fmt: skip


@dataclass(frozen=True)
class TokenStore:
    """Documents laid end to end; document i is ``ids[offsets[i]:offsets[i+1]]``."""

    ids: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    files: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> TokenStore:
        """Return a view of the first documents."""
        offsets = self.offsets[: count + 1]
        end = int(offsets[-1])
        return TokenStore(
            self.ids[:end], self.codes[:end], offsets, self.rows[:count], self.files[:count]
        )

    @classmethod
    def collect(cls, documents: Iterable[Encoded]) -> TokenStore:
        """Store documents in memory."""
        found = [np.zeros(0, np.int32)]
        codes = [np.zeros(0, np.uint8)]
        index = _Index()
        for document in documents:
            found.append(np.asarray(document.ids, np.int32))
            codes.append(document.codes)
            index.add(document, len(found[-1]))
        return cls(np.concatenate(found), np.concatenate(codes), *index.arrays())

    @classmethod
    def load(cls, directory: Path) -> TokenStore | None:
        """Map a saved store into memory; `None` if there is no whole one."""
        try:
            counts = json.loads((directory / "store.json").read_text())
            store = cls(**{name: _mapped(directory, name, counts[name]) for name in _ARRAYS})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        whole = len(store.offsets) == len(store.rows) + 1 == len(store.files) + 1
        return store if whole and len(store.ids) == len(store.codes) == store.offsets[-1] else None


class _Index:
    """Offsets, rows and files of documents, as they come."""

    def __init__(self) -> None:
        self._offsets, self._rows, self._files = array("q", [0]), array("q"), array("i")

    def add(self, document: Encoded, length: int) -> None:
        self._offsets.append(self._offsets[-1] + length)
        self._rows.append(document.row)
        self._files.append(document.file)

    def arrays(
        self,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        return (
            np.array(self._offsets, np.int64),
            np.array(self._rows, np.int64),
            np.array(self._files, np.int32),
        )


def _mapped(directory: Path, name: str, count: int) -> npt.NDArray[Any]:
    kind = np.dtype(_ARRAYS[name])
    path = directory / f"{name}.bin"
    if path.stat().st_size != count * kind.itemsize:
        raise ValueError(f"{path} is torn")
    return np.memmap(path, kind, "r", shape=(count,)) if count else np.zeros(0, kind)


def write_store(documents: Iterable[Encoded], directory: Path) -> TokenStore:
    """Write documents as they come; the directory appears whole or not at all.

    Several processes may write the same one: the last to finish wins, and all are equal. Raises
    `RunError` when the disk refuses.
    """
    with disk_errors(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            _write(documents, temporary)
            temporary.chmod(0o755)
            shutil.rmtree(directory, ignore_errors=True)
            temporary.replace(directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync(directory.parent)
    store = TokenStore.load(directory)
    if store is None:
        raise DataError(f"cannot read back the token cache {directory}", "is the disk full?")
    return store


def _write(documents: Iterable[Encoded], directory: Path) -> None:
    index = _Index()
    with (directory / "ids.bin").open("wb") as ids, (directory / "codes.bin").open("wb") as codes:
        for document in documents:
            tokens = np.asarray(document.ids, np.int32)
            ids.write(tokens.tobytes())
            codes.write(document.codes.tobytes())
            index.add(document, len(tokens))
    offsets, rows, files = index.arrays()
    for name, values in (("offsets", offsets), ("rows", rows), ("files", files)):
        (directory / f"{name}.bin").write_bytes(values.tobytes())
    tokens_total = int(offsets[-1])
    counts = {"ids": tokens_total, "codes": tokens_total, "offsets": len(offsets)}
    counts |= {"rows": len(rows), "files": len(files)}
    (directory / "store.json").write_text(json.dumps(counts))
    for path in directory.iterdir():
        sync(path)
