"""Trace shards as training documents."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cwm_core.data.records import COMPLETE_OUTCOMES, frames_from_row
from cwm_core.data.shards import read_shards, shard_files
from cwm_core.errors import CodecError, DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_core.trace.codec import EncodedTrace, Role, render_ids
from cwm_core.trace.frames import Trace
from cwm_train.data.config import LossShares, Traces
from cwm_train.data.document import DocumentSource
from cwm_train.data.spans import Codes, Span, encode_spans
from cwm_train.data.store import Encoded
from cwm_train.data.stored import Recipe, Unit, tokenised

log = logging.getLogger(__name__)

_COLUMNS = ["trace_id", "context", "frames", "outcome"]
_OBSERVED = [int(r) for r in (Role.EVENT, Role.STATE, Role.VALUE, Role.END)]


def build_traces(config: Traces, tokenizer: Tokenizer, shares: LossShares) -> DocumentSource:
    """Tokenise every shard once; raise `DataError` if no trace is left."""

    def encode(unit: Unit) -> Iterator[Encoded]:
        return _documents(unit.files[0], config, tokenizer)

    units = [Unit((file,)) for file in shard_files(trace_directory(config.path))]
    recipe = Recipe(config, tokenizer, encode, "row")
    source = tokenised(recipe, units, shares, config.limit, config.cache)
    if not len(source):
        raise DataError(
            f"{config.path} holds no trace of the split {config.split!r} that can be trained on",
            "check the split, or record more programs with `cwm trace`",
        )
    return source


def trace_directory(path: Path) -> Path:
    """Return the directory of the shards themselves: `path`, or ``traces`` in it."""
    inner = Path(path) / "traces"
    return inner if inner.is_dir() else Path(path)


def _documents(file: Path, config: Traces, tokenizer: Tokenizer) -> Iterator[Encoded]:
    refused = 0
    splits = (row["split"] for row in read_shards(file, ["split"]))
    numbers = [number for number, split in enumerate(splits, start=1) if split == config.split]
    rows = read_shards(file, _COLUMNS, where={"split": config.split})
    for number, row in zip(numbers, rows, strict=True):
        frames = frames_from_row(row["frames"])
        if len(frames) < 2:
            continue
        trace = Trace(row["context"], frames, complete=row["outcome"] in COMPLETE_OUTCOMES)
        try:
            encoded = render_ids(trace, tokenizer, diff=config.diff)
        except CodecError as error:
            refused += 1
            log.debug("%s: trace %s: %s", file.name, row["trace_id"], error)
            continue
        yield Encoded(encoded.ids, trace_codes(encoded), number)
    if refused:
        log.warning("%s: %d traces cannot be said in the wire format; left out", file, refused)


def trace_codes(encoded: EncodedTrace) -> Codes:
    """Return the span codes of every token of a trace.

    What is given is the context and the first call frame; an observation is the event and state
    or the value of a frame, an action its source line with the separators.
    """
    given = np.arange(len(encoded.ids)) < encoded.prompt_length
    observed = np.isin(np.asarray(encoded.roles), _OBSERVED)
    kinds = np.where(given, Span.PROMPT, np.where(observed, Span.OBSERVATION, Span.ACTION))
    return encode_spans(kinds, encoded.frame_index)
