"""Plain text and JSON lines as training documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from cwm_core.errors import DataError
from cwm_core.text.special_tokens import BEGIN_OF_TEXT, END_OF_TEXT
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.data.config import Text
from cwm_train.data.document import DocumentSource, StoredSource, TokenStore, flags


def build_text(config: Text, tokenizer: Tokenizer) -> DocumentSource:
    """Tokenise all texts; raise `DataError` if there are none or a line is no JSON."""
    texts = islice(_texts(config), config.limit)
    begin, end = tokenizer.special_id(BEGIN_OF_TEXT), tokenizer.special_id(END_OF_TEXT)
    store = TokenStore.collect(_document(text, tokenizer, begin, end) for text in texts)
    if len(store.offsets) < 2:
        raise DataError(f"{config.path} holds no text", f"looked for {config.pattern!r}")
    return StoredSource([store], "all")


def _document(
    text: str, tokenizer: Tokenizer, begin: int, end: int
) -> tuple[list[int], np.ndarray]:
    ids = [begin, *tokenizer.encode(text), end]
    return ids, flags(len(ids))


def _texts(config: Text) -> Iterator[str]:
    if not config.path.exists():
        raise DataError(f"{config.path} does not exist", "give a file or directory of text")
    files = [config.path] if config.path.is_file() else sorted(config.path.rglob(config.pattern))
    for file in files:
        if not file.is_file():
            continue
        if file.suffix == ".jsonl":
            yield from _lines(file, config.field)
        elif text := _read(file):
            yield text


def _lines(file: Path, field: str) -> Iterator[str]:
    for number, line in enumerate(_read(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)[field]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file}, line {number}: no JSON object with the key {field!r} ({error!r})",
                "set `field` to the key of the text, or repair the line",
            ) from error
        if not isinstance(text, str):
            raise DataError(f"{file}, line {number}: {field!r} is no text")
        yield text


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read {file} as UTF-8 text: {error}", "choose files with `pattern`"
        ) from error
