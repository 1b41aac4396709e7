"""The endless order of a source's documents, computed at any place without what comes before."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cwm_train.data.hashing import Permutation

_BLOCK = 4096
"""Documents per entry of the index of an epoch: what is kept, and what one look-up orders."""
_AT_ONCE = 256
"""Blocks that are summed together."""

Numbers = npt.NDArray[np.int64]


class EpochOrder:
    """All documents once, then all again in another order, and so on.

    Documents are addressed by the token at which they begin in that endless order. Per epoch only
    the sums of blocks of documents are kept (8 bytes per 4096 documents).
    """

    def __init__(self, lengths: Numbers, seed: int, name: str) -> None:
        self._lengths, self._seed, self._name = lengths, seed, name
        self.tokens = int(lengths.sum())
        """Tokens of an epoch."""
        self._starts = lru_cache(maxsize=4)(self._block_starts)

    def between(self, start: float, end: float) -> Numbers:
        """Return the documents whose first token lies in [start, end), in order."""
        found = [np.zeros(0, np.int64)]
        for epoch in range(int(start // self.tokens), int(end // self.tokens) + 1):
            base = epoch * self.tokens
            documents, begins = self._around(epoch, start - base, end - base)
            found.append(documents[(begins >= start - base) & (begins < end - base)])
        return np.concatenate(found)

    def begin_after(self, token: float) -> int:
        """Return where the first document begins that does so at `token` or later."""
        epoch = int(token // self.tokens)
        base = epoch * self.tokens
        _, begins = self._around(epoch, token - base, token - base)
        later = begins[begins >= token - base]
        return base + (int(later[0]) if len(later) else self.tokens)

    def _around(self, epoch: int, start: float, end: float) -> tuple[Numbers, Numbers]:
        """Return documents and where they begin, for all blocks that [start, end] touches."""
        starts = self._starts(epoch)
        first = max(int(np.searchsorted(starts, start, side="right")) - 1, 0)
        last = int(np.searchsorted(starts, end, side="right")) + 1
        documents = self._documents(epoch, first, last)
        lengths = self._lengths[documents]
        return documents, int(starts[first]) + np.cumsum(lengths) - lengths

    def _documents(self, epoch: int, first: int, last: int) -> Numbers:
        places = np.arange(first * _BLOCK, min(last * _BLOCK, len(self._lengths)))
        return Permutation(len(self._lengths), self._seed, epoch, self._name)(places)

    def _block_starts(self, epoch: int) -> Numbers:
        blocks = -(-len(self._lengths) // _BLOCK)
        sums = [np.zeros(0, np.int64)]
        for first in range(0, blocks, _AT_ONCE):
            lengths = self._lengths[self._documents(epoch, first, first + _AT_ONCE)]
            sums.append(np.add.reduceat(lengths, np.arange(0, len(lengths), _BLOCK)))
        total = np.concatenate(sums)
        return np.cumsum(total) - total
