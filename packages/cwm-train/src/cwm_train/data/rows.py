"""Rows of files: JSON lines and Parquet, with their numbers; bad ones named or counted."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import logging
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any, cast

from cwm_core.data.shards import read_shards
from cwm_core.errors import CwmError, DataError
from cwm_train.data.config import BadRows

log = logging.getLogger(__name__)


class Rejects:
    """Rows that cannot be used: the first stops the work, or all are counted and logged."""

    def __init__(self, policy: BadRows, what: str) -> None:
        self._policy, self._what = policy, what
        self._count, self._first = 0, ""

    def add(self, where: str, problem: str, hint: str) -> None:
        """Take note of a row; raises `DataError` unless rows are to be skipped."""
        if self._policy == "stop":
            raise DataError(f"{where}: {problem}", f"{hint}, or set bad_rows=skip")
        self._count += 1
        self._first = self._first or f"{where}: {problem}"

    def report(self) -> None:
        """Log how many rows were left out."""
        if self._count:
            log.warning("%s: %d rows left out; first: %s", self._what, self._count, self._first)


def files_of(path: Path, pattern: str) -> list[Path]:
    """Return a file, or the files of a directory in order; hidden files are left out.

    Raises `DataError` when there is none.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise DataError(f"{path} does not exist", "give a file or a directory of files")
    found = [
        file
        for file in sorted(path.rglob(pattern))
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    ]
    if not found:
        raise DataError(f"{path} holds no file that matches {pattern!r}", "check `pattern`")
    return found


def rows_of(file: Path, columns: list[str] | None, rejects: Rejects) -> Iterator[tuple[int, Any]]:
    """Yield (number, row) from 1 on; `columns` limits what is read of Parquet."""
    if file.suffix == ".parquet":
        yield from enumerate(read_shards(file, columns), start=1)
        return
    for number, line in lines_of(file):
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError as error:
            rejects.add(f"{file}, line {number}", f"no JSON ({error})", "repair the line")
            continue
        if row is not None:
            yield number, row


def lines_of(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) from 1 on; a compressed file is unpacked as it is read."""
    number = 0
    try:
        with _opened(file) as content:
            for number, line in enumerate(content, start=1):
                yield number, line
    except (OSError, EOFError) as error:
        raise DataError(
            f"{file} cannot be read after line {number}: {error}",
            "restore the file: it is damaged or was not copied whole",
        ) from error


def is_row_file(file: Path) -> bool:
    """Whether the name is one of JSON lines or Parquet."""
    return file.suffix == ".parquet" or fnmatch(file.name, "*.jsonl*")


def described(error: CwmError) -> str:
    """Return an error's message as a part of another one."""
    return error.message.rstrip(".")


def _opened(file: Path) -> IO[bytes]:
    if file.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(file, "rb"))
    if file.suffix == ".bz2":
        return cast("IO[bytes]", bz2.open(file, "rb"))
    if file.suffix == ".zst":
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(str(file), compression="zstd"))
    return file.open("rb")
