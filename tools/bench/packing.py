"""How full packed rows are, whether a document that fits is cut, and how fast rows are read.

    uv run python tools/bench/packing.py [--contexts 1024 8192 32768] [--rows 2000]

Documents have log-normal lengths, as code and text do (the longest are split at the context). For
each context: the share of the rows' places that hold tokens, over whole rounds; documents that fit
a row and were cut all the same; and tokens per second that one thread delivers, packing included.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

from cwm_train.data.document import Document
from cwm_train.data.mixers import Weighted
from cwm_train.data.stream import PackedStream, Position


class Drawn:
    """Documents of drawn lengths whose ids say which document and place they are."""

    def __init__(self, count: int, median: float, seed: int) -> None:
        drawn = np.random.default_rng(seed).lognormal(np.log(median), 1.2, count)
        self.lengths: npt.NDArray[np.int64] = np.maximum(drawn.astype(np.int64), 2)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Document:
        length = int(self.lengths[index])
        return Document(np.full(length, index, np.int32), np.ones(length, np.bool_))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, nargs="+", default=[1024, 8192, 32768])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--median", type=float, default=500, help="tokens of a document")
    parser.add_argument("--documents", type=int, default=100_000)
    given = parser.parse_args()
    for context in given.contexts:
        print(measure(context, given.rows, Drawn(given.documents, given.median, 0)))


def measure(context: int, rows: int, source: Drawn) -> str:
    """Read at least so many rows, to the end of a round; return a line about them."""
    mixer = Weighted().build({"drawn": source.lengths})
    stream = PackedStream({"drawn": source}, mixer, context, 0, "split")
    began = time.perf_counter()
    position, read, tokens, cut = Position(), 0, 0, 0
    while read < rows or position.row:
        (row,), position = stream.take(position, 1)
        read += 1
        for document in row:
            whole = int(source.lengths[document.ids[0]])
            tokens += len(document.ids)
            cut += whole <= context and len(document.ids) < whole
    seconds = time.perf_counter() - began
    return (
        f"context {context}: {read} rows, {tokens / (read * context):.2%} full, {cut} documents "
        f"that fit were cut; {tokens / seconds:,.0f} tokens/s"
    )


if __name__ == "__main__":
    main()
