"""Data sets of Hugging Face's `datasets` as training documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.data.config import HuggingFace, LossShares
from cwm_train.data.document import DocumentSource
from cwm_train.data.rows import Rejects
from cwm_train.data.store import Encoded
from cwm_train.data.stored import Recipe, Unit, tokenised
from cwm_train.data.text import Piece, encode_texts, text_of


def build_huggingface(config: HuggingFace, tokenizer: Tokenizer) -> DocumentSource:
    """Tokenise a data set; raises `DataError` if it cannot be loaded or has no text.

    The token ids are kept under the data set's fingerprint, which `datasets` changes with its
    content. A stream has none: it is kept under its name and `revision`, and the versions of its
    local files.
    """
    rows, fingerprint = _load(config)

    def encode(unit: Unit) -> Iterator[Encoded]:
        rejects = Rejects(config.bad_rows, config.dataset)

        def refuse(piece: Piece, problem: str) -> None:
            rejects.add(f"{config.dataset}, row {piece.row}", problem, "repair the text")

        yield from encode_texts(_texts(rows, config, rejects), tokenizer, refuse)
        rejects.report()

    unit = Unit((), f"{config.dataset} {config.split_expression} {fingerprint}")
    recipe = Recipe(config, tokenizer, encode, "row")
    source = tokenised(recipe, [unit], LossShares(), config.limit, config.cache)
    if not len(source):
        raise DataError(
            f"the data set {config.dataset!r} ({config.split_expression}) holds no text",
            "check `split_expression` and `field`",
        )
    return source


def _load(config: HuggingFace) -> tuple[Iterable[dict[str, Any]], str]:
    from datasets import load_dataset

    try:
        found = load_dataset(
            config.dataset,
            config.config_name,
            data_files=list(config.data_files) or None,
            split=config.split_expression,
            revision=config.revision,
            streaming=config.streaming,
        )
    except Exception as error:  # the library raises its own, those of its readers and of the net
        raise DataError(
            f"`datasets` cannot load {config.dataset!r}: {error}",
            "check dataset, config_name, data_files and split_expression, and the network",
        ) from error
    if config.field not in (found.column_names or [config.field]):
        raise DataError(
            f"the data set {config.dataset!r} has no column {config.field!r}",
            f"set `field` to one of {', '.join(found.column_names)}",
        )
    fingerprint = _versions(config) if config.streaming else found._fingerprint
    return found.select_columns([config.field]), f"{fingerprint} {config.limit}"


def _versions(config: HuggingFace) -> str:
    """Tell versions of local files apart, which a stream does not."""
    digest = hashlib.sha256()
    patterns = config.data_files
    for name in sorted(found for p in patterns for found in glob(p)):  # noqa: PTH207 (of any root)
        status = Path(name).stat()
        digest.update(f"{name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def _texts(
    rows: Iterable[dict[str, Any]], config: HuggingFace, rejects: Rejects
) -> Iterator[Piece]:
    for number, values in enumerate(islice(rows, config.limit), start=1):
        text = text_of(values, config, f"{config.dataset}, row {number}", rejects)
        if text is not None:
            yield Piece(0, number, text)
