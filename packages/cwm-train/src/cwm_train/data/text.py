"""Plain text, code and rows of text as training documents."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cwm_core.errors import DataError
from cwm_core.text.special_tokens import BEGIN_OF_TEXT, END_OF_TEXT
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.data.config import Code, HuggingFace, JsonLines, LossShares, Parquet, Text
from cwm_train.data.document import DocumentSource
from cwm_train.data.rows import Rejects, described, files_of, rows_of
from cwm_train.data.spans import text_codes
from cwm_train.data.store import Encoded
from cwm_train.data.stored import Recipe, StoredSource, Unit, tokenised

log = logging.getLogger(__name__)

_AT_ONCE = 256
_UNIT_BYTES = 64 << 20
"""Small files are kept together in units of about this size."""


class Piece(NamedTuple):
    """One text: the number of its file in the unit, its place there, and itself."""

    file: int
    row: int
    text: str


def encode_texts(
    pieces: Iterable[Piece], tokenizer: Tokenizer, refuse: Callable[[Piece, str], None]
) -> Iterator[Encoded]:
    """Tokenise texts, each between the tokens that begin and end one; empty ones are left out.

    What cannot be encoded (lone surrogates) is given to `refuse` with the reason.
    """
    begin, end = tokenizer.special_id(BEGIN_OF_TEXT), tokenizer.special_id(END_OF_TEXT)
    nonempty = (piece for piece in pieces if piece.text)
    while batch := list(islice(nonempty, _AT_ONCE)):
        for piece, tokens in _encoded(batch, tokenizer, refuse):
            ids = [begin, *tokens, end]
            yield Encoded(ids, text_codes(len(ids)), piece.row, piece.file)


def _encoded(
    batch: list[Piece], tokenizer: Tokenizer, refuse: Callable[[Piece, str], None]
) -> Iterator[tuple[Piece, list[int]]]:
    try:
        yield from zip(batch, tokenizer.encode_batch([piece.text for piece in batch]))
        return
    except DataError:
        pass
    for piece in batch:  # one of them is bad: find it
        try:
            yield piece, tokenizer.encode(piece.text)
        except DataError as error:
            refuse(piece, described(error))


def _refuse(unit: Unit, row: str, rejects: Rejects) -> Callable[[Piece, str], None]:
    def refuse(piece: Piece, problem: str) -> None:
        rejects.add(f"{unit.files[piece.file]}, {row} {piece.row}", problem, "repair the text")

    return refuse


def not_empty(source: StoredSource, path: Path, what: str, hint: str) -> DocumentSource:
    """Return the source; raises `DataError` if it has no document."""
    if not len(source):
        raise DataError(f"{path} holds no {what}", hint)
    return source


# Rows


def build_rows(config: JsonLines | Parquet, tokenizer: Tokenizer, row: str) -> DocumentSource:
    """Tokenise the text field of every row; raises `DataError` for a bad or a missing one."""

    def encode(unit: Unit) -> Iterator[Encoded]:
        rejects = Rejects(config.bad_rows, str(unit.files[0]))
        pieces = _row_texts(unit.files[0], config, row, rejects)
        yield from encode_texts(pieces, tokenizer, _refuse(unit, row, rejects))
        rejects.report()

    units = [Unit((file,)) for file in files_of(config.path, config.pattern)]
    recipe = Recipe(config, tokenizer, encode, row)
    source = tokenised(recipe, units, LossShares(), config.limit, config.cache)
    return not_empty(source, config.path, "text", f"the field {config.field!r} is always empty")


def _row_texts(
    file: Path, config: JsonLines | Parquet, row: str, rejects: Rejects
) -> Iterator[Piece]:
    for number, values in rows_of(file, [config.field], rejects):
        text = text_of(values, config, f"{file}, {row} {number}", rejects)
        if text is not None:
            yield Piece(0, number, text)


def text_of(
    values: object, config: JsonLines | Parquet | HuggingFace, where: str, rejects: Rejects
) -> str | None:
    """Return the text of a row, `None` (and take note) if there is none."""
    if isinstance(values, dict) and isinstance(values.get(config.field), str):
        return str(values[config.field])
    found = f"it has {', '.join(map(str, values))}" if isinstance(values, dict) else "no object"
    problem = f"no text in the field {config.field!r} ({found})"
    rejects.add(where, problem, "set `field` to the name of the text, or repair the row")
    return None


# Files


def build_text(config: Text, tokenizer: Tokenizer) -> DocumentSource:
    """Tokenise all files; raises `DataError` if there are none or one is not UTF-8."""

    def encode(unit: Unit) -> Iterator[Encoded]:
        return encode_texts(
            _file_texts(unit, config.separator),
            tokenizer,
            _refuse(unit, "document", Rejects("stop", "")),
        )

    units = grouped(files_of(config.path, config.pattern))
    recipe = Recipe(config, tokenizer, encode, "document")
    source = tokenised(recipe, units, LossShares(), config.limit, config.cache)
    return not_empty(source, config.path, "text", f"looked for {config.pattern!r}")


def _file_texts(unit: Unit, separator: str | None) -> Iterator[Piece]:
    for number, file in enumerate(unit.files):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"cannot read {file} as UTF-8 text: {error}", "choose files with `pattern`"
            ) from error
        for row, part in enumerate(text.split(separator) if separator else [text], start=1):
            yield Piece(number, row, part)


def build_code(config: Code, tokenizer: Tokenizer) -> DocumentSource:
    """Tokenise the files of a tree; what is left out is counted and logged.

    Raises `DataError` if no file is left.
    """
    if not config.path.is_dir():
        raise DataError(f"{config.path} is no directory", "give the root of a source tree")

    def encode(unit: Unit) -> Iterator[Encoded]:
        refuse = _refuse(unit, "document", Rejects("stop", ""))
        return encode_texts(_code_texts(unit, config), tokenizer, refuse)

    recipe = Recipe(config, tokenizer, encode, "document")
    units = grouped(_code_files(config))
    source = tokenised(recipe, units, LossShares(), config.limit, config.cache)
    hint = f"looked for {', '.join(config.extensions)}; the log says what was left out"
    return not_empty(source, config.path, "source file that can be used", hint)


def _code_files(config: Code) -> list[Path]:
    found, large = [], 0
    for directory, names, files in os.walk(config.path):
        names[:] = sorted(name for name in names if not _excluded(name, config))
        for name in sorted(files):
            file = Path(directory) / name
            if not name.endswith(config.extensions) or _excluded(name, config):
                continue
            if file.is_symlink() or not file.is_file():
                continue
            if file.stat().st_size > config.max_file_bytes:
                large += 1
                continue
            found.append(file)
    if large:
        log.warning("%s: %d files larger than max_file_bytes left out", config.path, large)
    return found


def _excluded(name: str, config: Code) -> bool:
    return any(fnmatch(name, pattern) for pattern in config.exclude)


def _code_texts(unit: Unit, config: Code) -> Iterator[Piece]:
    left_out: Counter[str] = Counter()
    for number, file in enumerate(unit.files):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            left_out["not in UTF-8"] += 1
            continue
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}", "check its mode") from error
        if max(map(len, text.splitlines()), default=0) > config.max_line_characters:
            left_out["with a line over max_line_characters"] += 1
            continue
        yield Piece(number, 1, text)
    for reason, count in left_out.items():
        log.warning("%s: %d files %s left out", config.path, count, reason)


def grouped(files: Sequence[Path]) -> list[Unit]:
    """Gather files in order into units of a bounded size."""
    units: list[Unit] = []
    group: list[Path] = []
    size = 0
    for file in files:
        group.append(file)
        size += file.stat().st_size
        if size >= _UNIT_BYTES:
            units.append(Unit(tuple(group)))
            group, size = [], 0
    return [*units, Unit(tuple(group))] if group else units
