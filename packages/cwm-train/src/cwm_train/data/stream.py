"""The endless stream of packed rows: a pure function of sources, mixer and seed.

The stream is cut into rounds of a few million tokens. The mixer says which interval of each
source's own endless, per-epoch shuffled stream a round takes; the round's documents are packed
best-fit and the rows shuffled. A position is (round, row), so resuming replays nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from cwm_core.errors import DataError
from cwm_train.data.document import Document, DocumentSource
from cwm_train.data.mixers import Mixer
from cwm_train.data.packing import best_fit

log = logging.getLogger(__name__)

ROUND_TOKENS = 1 << 21
"""Most tokens that are packed together."""

TooLong = Literal["drop", "cut"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where the stream stands: the next row to deliver."""

    round: int = 0
    row: int = 0


class ShuffledSource:
    """A source's endless stream: every epoch once through all documents, in a new order."""

    def __init__(self, source: DocumentSource, capacity: int, too_long: TooLong, name: str) -> None:
        self._source, self._capacity = source, capacity
        lengths = np.asarray(source.lengths)
        self._kept = (
            np.flatnonzero(lengths <= capacity) if too_long == "drop" else np.arange(len(lengths))
        )
        self._seed = np.frombuffer(name.encode(), dtype=np.uint8)
        self.lengths = np.minimum(lengths[self._kept], capacity)
        self.left_out = len(lengths) - len(self._kept)
        self.cut = int((lengths > capacity).sum()) if too_long == "cut" else 0
        if not len(self._kept):
            raise DataError(
                f"no document of the source {name!r} fits into {capacity} tokens",
                "raise sequence_length, or set too_long=cut",
            )
        self.tokens = int(self.lengths.sum())

    def between(self, start: float, end: float, seed: int) -> list[int]:
        """Return the documents whose first token lies in [start, end) of the stream."""
        chosen: list[int] = []
        for epoch in range(int(start // self.tokens), int(end // self.tokens) + 1):
            order, starts = self._epoch(epoch, seed)
            base = epoch * self.tokens
            first, last = np.searchsorted(starts, [start - base, end - base])
            chosen.extend(order[first:last].tolist())
        return chosen

    def _epoch(self, epoch: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        rng = np.random.default_rng([seed, epoch, *self._seed])
        order = rng.permutation(len(self.lengths))
        return order, np.cumsum(self.lengths[order]) - self.lengths[order]

    def __getitem__(self, index: int) -> Document:
        document = self._source[int(self._kept[index])]
        return Document(document.ids[: self._capacity], document.loss_mask[: self._capacity])


class PackedStream:
    """Rows of packed documents by position."""

    def __init__(
        self,
        sources: Mapping[str, DocumentSource],
        mixer: Mixer,
        sequence_length: int,
        seed: int,
        too_long: TooLong = "drop",
    ) -> None:
        self.sources = {
            name: ShuffledSource(source, sequence_length, too_long, name)
            for name, source in sources.items()
        }
        self._mixer, self._seed, self._capacity = mixer, seed, sequence_length
        total = sum(source.tokens for source in self.sources.values())
        self.round_tokens = max(min(total, ROUND_TOKENS), 8 * sequence_length)
        self._rows = lru_cache(maxsize=2)(self._packed)
        for name, source in self.sources.items():
            if source.left_out or source.cut:
                log.warning(
                    "source %s: %d of %d documents are longer than %d tokens and are %s",
                    name,
                    source.left_out or source.cut,
                    len(source.lengths) + source.left_out,
                    sequence_length,
                    "left out" if source.left_out else "cut",
                )

    def take(self, position: Position, rows: int) -> tuple[list[list[Document]], Position]:
        """Return the next rows, each a list of documents, and the position after them."""
        taken: list[list[Document]] = []
        number, row = position.round, position.row
        while len(taken) < rows:
            packed = self._rows(number)
            fresh = packed[row : row + rows - len(taken)]
            taken += [[self.sources[name][index] for name, index in items] for items in fresh]
            row += len(fresh)
            if row >= len(packed):
                number, row = number + 1, 0
        return taken, Position(number, row)

    def _packed(self, number: int) -> list[list[tuple[str, int]]]:
        start = self._mixer.delivered(number * self.round_tokens)
        end = self._mixer.delivered((number + 1) * self.round_tokens)
        items = [
            (name, index)
            for name, source in self.sources.items()
            for index in source.between(start.get(name, 0.0), end.get(name, 0.0), self._seed)
        ]
        lengths = [int(self.sources[name].lengths[index]) for name, index in items]
        bins = best_fit(lengths, self._capacity)
        order = np.random.default_rng([self._seed, number, 1]).permutation(len(bins))
        return [[items[i] for i in bins[j]] for j in order]
