"""The endless stream of packed rows: a pure function of sources, mixer and seed.

The stream is cut into rounds of a few million tokens. The mixer says which interval of each
source's own endless order a round takes; the round's documents are packed best-fit and the rows
shuffled. A position is (round, row): any is computed without what comes before it, by any number of
processes, so resuming replays nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cwm_core.errors import DataError
from cwm_train.data.ahead import Ahead
from cwm_train.data.config import TooLong
from cwm_train.data.document import Document, DocumentSource
from cwm_train.data.fitting import FittedSource
from cwm_train.data.mixers import Mixer
from cwm_train.data.order import EpochOrder
from cwm_train.data.packing import best_fit

ROUND_TOKENS = 1 << 21
ROUND_ROWS = 256
"""Tokens and rows, whichever is more, that are packed together where the sources have as many.

The last row of a round stays partly empty: with 256 rows that is at most 0.4 %."""
_AHEAD = 2

Row = list[tuple[str, int]]
"""Sources and numbers of the documents of a packed row."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the stream stands: the next row to deliver."""

    round: int = 0
    row: int = 0


class PackedStream:
    """Rows of packed documents by position, read ahead by a thread."""

    def __init__(
        self,
        sources: Mapping[str, DocumentSource],
        mixer: Mixer,
        sequence_length: int,
        seed: int,
        too_long: TooLong = "drop",
    ) -> None:
        self.sources = {
            name: FittedSource(source, sequence_length, too_long, name)
            for name, source in sources.items()
        }
        self._orders = {
            name: EpochOrder(source.lengths, seed, name) for name, source in self.sources.items()
        }
        self._mixer, self._seed, self._capacity = mixer, seed, sequence_length
        total = sum(order.tokens for order in self._orders.values())
        most = max(ROUND_TOKENS, ROUND_ROWS * sequence_length)
        self.round_tokens = max(min(total, most), 8 * sequence_length)
        """Tokens that are packed together."""
        self._rows = lru_cache(maxsize=3)(self._packed)
        self._ahead = Ahead(self._read, _AHEAD, "data")

    @property
    def waited_s(self) -> float:
        """Time that `take` has waited for data, in all."""
        return self._ahead.waited_s

    def take(self, position: Position, rows: int) -> tuple[list[list[Document]], Position]:
        """Return the next rows, each a list of documents, and the position after them.

        What follows is read meanwhile. Raises `DataError` when the mixer delivers no more.
        """
        return self._ahead.take(position, rows)

    def tokens_by_source(self, position: Position) -> dict[str, int]:
        """Return how many tokens of each source lie before a position, exactly."""
        start = self._mixer.delivered(position.round * self.round_tokens)
        before = Counter(
            {name: order.begin_after(start.get(name, 0.0)) for name, order in self._orders.items()}
        )
        for row in self._rows(position.round)[: position.row] if position.row else ():
            for name, index in row:
                before[name] += int(self.sources[name].lengths[index])
        return dict(before)

    def token_shares(self, position: Position) -> dict[str, float]:
        """Return which share of the tokens before a position came from each source."""
        counts = self.tokens_by_source(position)
        total = max(sum(counts.values()), 1)
        return {name: count / total for name, count in counts.items()}

    def _read(self, position: Position, rows: int) -> tuple[list[list[Document]], Position]:
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

    def _packed(self, number: int) -> list[Row]:
        start = self._mixer.delivered(number * self.round_tokens)
        end = self._mixer.delivered((number + 1) * self.round_tokens)
        items: Row = [
            (name, int(index))
            for name, order in self._orders.items()
            for index in order.between(start.get(name, 0.0), end.get(name, 0.0))
        ]
        if not items:
            raise DataError(
                f"the data is used up after {sum(start.values()):,.0f} tokens: every source of the "
                "mixture has reached its max_epochs",
                "raise mixer.max_epochs, add data, or lower the budget",
            )
        lengths = [int(self.sources[name].lengths[index]) for name, index in items]
        bins = best_fit(lengths, self._capacity)
        order = np.random.default_rng([self._seed, number, 1]).permutation(len(bins))
        return [[items[i] for i in bins[j]] for j in order]
