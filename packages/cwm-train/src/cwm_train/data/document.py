"""Tokenised documents: what sources deliver and how they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cwm_train.data.config import LossOn


class LossBit(StrEnum):
    """Names of the bits of `TokenStore.flags`."""

    PREDICTED = "predicted"
    OBSERVATIONS = "observations"
    ALL = "all"


_BITS: dict[str, int] = {name: 1 << i for i, name in enumerate(LossBit)}


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids, and for each whether the model is trained to predict it."""

    ids: npt.NDArray[np.int32]
    loss_mask: npt.NDArray[np.bool_]


@runtime_checkable
class DocumentSource(Protocol):
    """Indexed documents whose lengths are known without reading them."""

    lengths: npt.NDArray[np.int64]
    """Tokens of each document."""

    def __len__(self) -> int:
        """Return the number of documents."""
        ...

    def __getitem__(self, index: int) -> Document:
        """Return one document."""
        ...


def flags(count: int, **masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Combine masks, named as in `LossBit`, into one byte per token; `all` is always set."""
    combined = np.full(count, _BITS[LossBit.ALL], dtype=np.uint8)
    for name, mask in masks.items():
        combined |= mask.astype(np.uint8) * np.uint8(_BITS[name])
    return combined


@dataclass(frozen=True)
class TokenStore:
    """Documents laid end to end; document i is ``ids[offsets[i]:offsets[i+1]]``."""

    ids: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def collect(cls, documents: Iterable[tuple[list[int], npt.NDArray[np.uint8]]]) -> TokenStore:
        """Store (ids, flags) pairs in memory."""
        ids, bits, offsets = [], [], [0]
        for tokens, token_flags in documents:
            ids.append(np.asarray(tokens, dtype=np.int32))
            bits.append(token_flags)
            offsets.append(offsets[-1] + len(tokens))
        return cls(
            np.concatenate([np.zeros(0, np.int32), *ids]),
            np.concatenate([np.zeros(0, np.uint8), *bits]),
            np.asarray(offsets, dtype=np.int64),
        )

    def save(self, directory: Path) -> None:
        """Write the arrays as .npy files; the directory appears whole or not at all."""
        import shutil

        temporary = directory.with_name(f".{directory.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name in ("ids", "flags", "offsets"):
            np.save(temporary / f"{name}.npy", getattr(self, name))
        shutil.rmtree(directory, ignore_errors=True)
        temporary.replace(directory)

    @classmethod
    def load(cls, directory: Path) -> TokenStore | None:
        """Map a saved store into memory; `None` if there is no readable one."""
        try:
            names = ("ids", "flags", "offsets")
            store = cls(*(np.load(directory / f"{name}.npy", mmap_mode="r") for name in names))
        except (OSError, ValueError):
            return None
        whole = len(store.offsets) and len(store.ids) == len(store.flags) == store.offsets[-1]
        return store if whole else None


class StoredSource:
    """A `DocumentSource` over token stores."""

    def __init__(self, stores: list[TokenStore], loss_on: LossOn) -> None:
        self._stores = stores
        self._bit = np.uint8(_BITS[loss_on])
        self._starts = np.cumsum([0, *(len(s.offsets) - 1 for s in stores)])
        lengths = [np.diff(store.offsets) for store in stores]
        self.lengths = np.concatenate([np.zeros(0, np.int64), *lengths])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Document:
        where = int(np.searchsorted(self._starts, index, side="right")) - 1
        store = self._stores[where]
        start, end = store.offsets[index - self._starts[where] :][:2]
        return Document(store.ids[start:end], (store.flags[start:end] & self._bit) != 0)
