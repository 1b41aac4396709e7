"""Sources whose documents are tokenised once, unit by unit, and kept."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cwm_core.components import ComponentConfig
from cwm_core.progress import Progress, progress
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.data.config import LossShares
from cwm_train.data.document import Document
from cwm_train.data.spans import loss_mask
from cwm_train.data.store import Encoded, TokenStore, write_store

log = logging.getLogger(__name__)

FORMAT = 2
"""Part of every cache key; raise it when the meaning of the stored arrays changes."""
_NOT_IN_KEY = {"name", "path", "cache", "limit", "loss"}


@dataclass(frozen=True)
class Unit:
    """Files that are tokenised and kept together; `label` stands for what is no file."""

    files: tuple[Path, ...]
    label: str = ""

    @property
    def name(self) -> str:
        """What the cache entry is called, beside its key."""
        text = self.label or self.files[0].stem
        return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)[:40]


@dataclass(frozen=True)
class Recipe:
    """How a source tokenises."""

    config: ComponentConfig
    tokenizer: Tokenizer
    encode: Callable[[Unit], Iterable[Encoded]]
    row: str
    """What a place in a file is called: ``line``, ``row``, ``document``."""

    def key(self, unit: Unit) -> str:
        """Name a unit by its content and by everything that decides about its tokens."""
        digest = hashlib.sha256(unit.label.encode())
        for file in unit.files:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
        settings = self.config.model_dump_json(exclude=_NOT_IN_KEY)
        kind = type(self.config).__name__
        digest.update(f"{kind}/{settings}/{self.tokenizer.fingerprint}/{FORMAT}".encode())
        return f"{unit.name}-{digest.hexdigest()[:24]}"


class StoredSource:
    """A `DocumentSource` over token stores."""

    def __init__(
        self, stores: Sequence[TokenStore], units: Sequence[Unit], shares: LossShares, row: str
    ) -> None:
        self._stores, self._units, self._shares, self._row = stores, units, shares, row
        self._starts = np.cumsum([0, *map(len, stores)])
        lengths = [np.diff(store.offsets) for store in stores]
        self.lengths = np.concatenate([np.zeros(0, np.int64), *lengths])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Document:
        number, inner = self._place(index)
        store = self._stores[number]
        start, end = store.offsets[inner : inner + 2]
        # a copy, so that what waits in memory to be used has left the disk
        ids = np.array(store.ids[start:end])
        return Document(ids, loss_mask(np.array(store.codes[start:end]), self._shares, index))

    def where(self, index: int) -> str:
        """Return the file and row of a document."""
        number, inner = self._place(index)
        store, unit = self._stores[number], self._units[number]
        file = unit.files[store.files[inner]] if unit.files else unit.label
        return f"{file}, {self._row} {store.rows[inner]}"

    def _place(self, index: int) -> tuple[int, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return number, index - int(self._starts[number])


def tokenised(
    recipe: Recipe, units: Sequence[Unit], shares: LossShares, limit: int | None, cache: Path | None
) -> StoredSource:
    """Tokenise units, or find them in the cache, until there are `limit` documents."""
    stores: list[TokenStore] = []
    left = limit if limit is not None else -1
    kind = type(recipe.config).__name__
    with progress(len(units), f"tokenising {kind}", unit="file") as bar:
        for number, unit in enumerate(units):
            store = _store(recipe, unit, cache, _Counted(bar, number))
            stores.append(store.first(left) if 0 <= left < len(store) else store)
            bar.set(number + 1)
            left -= len(store) if limit is not None else 0
            if limit is not None and left <= 0:
                break
    return StoredSource(stores, units[: len(stores)], shares, recipe.row)


class _Counted:
    """Shows how many documents of a unit are done."""

    def __init__(self, bar: Progress, done: int) -> None:
        self._bar, self._done = bar, done

    def __call__(self, documents: Iterable[Encoded]) -> Iterator[Encoded]:
        for number, document in enumerate(documents, start=1):
            yield document
            if number % 1000 == 0:
                self._bar.set(self._done, documents=number)


def _store(recipe: Recipe, unit: Unit, cache: Path | None, counted: _Counted) -> TokenStore:
    if cache is None:
        return TokenStore.collect(counted(recipe.encode(unit)))
    place = cache / recipe.key(unit)
    store = TokenStore.load(place)
    if store is not None:
        return store
    if place.exists():
        log.warning("the token cache %s is damaged; it is made anew", place)
    return write_store(counted(recipe.encode(unit)), place)
