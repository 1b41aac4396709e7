"""Documents that are longer than a row: what is done with them, and saying so."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from cwm_core.errors import ContextLengthError, DataError
from cwm_train.data.config import TooLong
from cwm_train.data.document import Document, DocumentSource, where

log = logging.getLogger(__name__)

_DONE = {"drop": "are left out", "split": "are split", "truncate": "are truncated"}


class FittedSource:
    """A source as pieces of at most `capacity` tokens; most pieces are whole documents."""

    def __init__(self, source: DocumentSource, capacity: int, policy: TooLong, name: str) -> None:
        self._source, self._capacity = source, capacity
        whole = np.asarray(source.lengths, np.int64)
        pieces = -(-whole // capacity)
        if policy == "drop":
            pieces[whole > capacity] = 0
        elif policy == "truncate":
            pieces = np.minimum(pieces, 1)
        _report(source, whole, capacity, policy, name)
        if not pieces.any():
            raise DataError(
                f"no document of the source {name!r} fits into {capacity} tokens",
                "raise sequence_length, or set too_long=split",
            )
        self.lengths: npt.NDArray[np.int64] = whole
        """Tokens of each piece."""
        self._pieces: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
        if not (pieces == 1).all() or policy == "truncate":
            documents = np.repeat(np.arange(len(whole)), pieces)
            starts = np.arange(len(documents)) - (np.cumsum(pieces) - pieces)[documents]
            starts *= capacity
            self._pieces = documents, starts
            self.lengths = np.minimum(whole[documents] - starts, capacity)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Document:
        if self._pieces is None:
            return self._source[index]
        document = self._source[int(self._pieces[0][index])]
        start = int(self._pieces[1][index])
        end = start + self._capacity
        return Document(document.ids[start:end], document.loss_mask[start:end])


def _report(
    source: DocumentSource,
    lengths: npt.NDArray[np.int64],
    capacity: int,
    policy: TooLong,
    name: str,
) -> None:
    long = lengths > capacity
    if not long.any():
        return
    longest = int(lengths.argmax())
    most = f"{where(source, longest)}, has {lengths[longest]}"
    if policy == "error":
        raise ContextLengthError(
            f"source {name!r}: {long.sum()} of {len(lengths)} documents are longer than "
            f"sequence_length={capacity} tokens; the longest, {most}",
            "raise sequence_length, or set too_long to split, truncate or drop",
        )
    log.warning(
        "source %s: %d of %d documents are longer than %d tokens and %s (%.1f %% of its tokens are "
        "in them; the longest, %s); too_long decides",
        name,
        long.sum(),
        len(lengths),
        capacity,
        _DONE[policy],
        100 * lengths[long].sum() / lengths.sum(),
        most,
    )
