"""Trace shards as training documents."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cwm_core.data.records import COMPLETE_OUTCOMES, frames_from_row
from cwm_core.data.shards import read_shards, shard_files
from cwm_core.errors import CodecError, DataError
from cwm_core.progress import progress
from cwm_core.text.tokenizer import Tokenizer
from cwm_core.trace.codec import EncodedTrace, Role, render_ids
from cwm_core.trace.frames import Trace
from cwm_train.data.config import LossOn, Traces
from cwm_train.data.document import DocumentSource, StoredSource, TokenStore, flags

log = logging.getLogger(__name__)

_COLUMNS = ["trace_id", "context", "frames", "outcome"]
_OBSERVED = [int(r) for r in (Role.EVENT, Role.STATE, Role.VALUE, Role.END)]
FORMAT = 1
"""Part of the cache key; raise it when the meaning of the stored arrays changes."""


def build_traces(config: Traces, tokenizer: Tokenizer, loss_on: LossOn) -> DocumentSource:
    """Tokenise every shard once; raise `DataError` if no trace is left."""
    stores: list[TokenStore] = []
    files = shard_files(trace_directory(config.path))
    with progress(len(files), f"tokenising {config.split} traces", unit="shard") as bar:
        for file in files:
            stores.append(_store(file, config, tokenizer))
            bar.advance()
    source = StoredSource(_limited(stores, config.limit), loss_on)
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


def _store(file: Path, config: Traces, tokenizer: Tokenizer) -> TokenStore:
    if config.cache is None:
        return TokenStore.collect(_documents(file, config, tokenizer))
    place = config.cache / _key(file, config, tokenizer)
    store = TokenStore.load(place)
    if store is None:
        TokenStore.collect(_documents(file, config, tokenizer)).save(place)
        store = TokenStore.load(place)
    if store is None:
        raise DataError(f"cannot read back the token cache {place}", "is the disk full?")
    return store


def _key(file: Path, config: Traces, tokenizer: Tokenizer) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    digest.update(f"{tokenizer.fingerprint}/{config.split}/{config.diff}/{FORMAT}".encode())
    return f"{file.stem}-{digest.hexdigest()[:24]}"


def _documents(
    file: Path, config: Traces, tokenizer: Tokenizer
) -> Iterator[tuple[list[int], npt.NDArray[np.uint8]]]:
    refused = 0
    for row in read_shards(file, _COLUMNS, where={"split": config.split}):
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
        yield encoded.ids, trace_flags(encoded)
    if refused:
        log.warning("%s: %d traces cannot be said in the wire format; left out", file, refused)


def trace_flags(encoded: EncodedTrace) -> npt.NDArray[np.uint8]:
    """Return the loss bits of every token of a trace."""
    predicted = np.arange(len(encoded.ids)) >= encoded.prompt_length
    observed = np.isin(np.asarray(encoded.roles), _OBSERVED)
    return flags(len(encoded.ids), predicted=predicted, observations=predicted & observed)


def _limited(stores: list[TokenStore], limit: int | None) -> list[TokenStore]:
    """Keep the first `limit` documents."""
    if limit is None:
        return stores
    kept, left = [], limit
    for store in stores:
        offsets = store.offsets[: left + 1]
        end = offsets[-1]
        kept.append(TokenStore(store.ids[:end], store.flags[:end], offsets))
        left -= len(offsets) - 1
        if left <= 0:
            break
    return kept
