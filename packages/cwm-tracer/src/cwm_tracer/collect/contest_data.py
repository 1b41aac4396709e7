"""Problems of programming contests, in the schema of CodeContests.

A row has `name`, `public_tests`, `private_tests` and `generated_tests` (each ``{"input": [...],
"output": [...]}``), `solutions` and `incorrect_solutions` (``{"language": [...], "solution":
[...]}``); other columns are ignored. Languages are the published numbers or their names.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError

LANGUAGES = {
    0: "unknown",
    1: "python2",
    2: "cpp",
    3: "python3",
    4: "java",
    "PYTHON": "python2",
    "PYTHON2": "python2",
    "PYTHON3": "python3",
}
_TESTS = ("public", "private", "generated")
_COLUMNS = ("name", *(f"{kind}_tests" for kind in _TESTS), "solutions", "incorrect_solutions")
_REQUIRED = ("name", "public_tests", "solutions")
_SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class Test:
    """An input and the output that is expected for it; `name` is such as ``private_tests[2]``."""

    name: str
    stdin: str
    expected: str


@dataclass(frozen=True, slots=True)
class Source:
    """A solution's text; `name` is such as ``solutions[7]``."""

    name: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with its tests and solutions."""

    name: str
    tests: tuple[Test, ...]
    correct: tuple[Source, ...]
    incorrect: tuple[Source, ...]


def read_problems(path: Path) -> Iterator[Problem]:
    """Yield the problems of a file, or of all files of a directory in the order of their names.

    Raises:
        DataError: a file is missing, damaged or of another schema; says where.
    """
    for file in _files(path):
        rows = _parquet(file) if file.suffix == ".parquet" else _json_lines(file)
        for where, row in rows:
            yield _problem(row, where)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(found for found in path.rglob("*") if found.name.endswith(_SUFFIXES))
    if not files:
        what = "holds no such file" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}", f"data= takes {', '.join(_SUFFIXES)}")
    return files


def _parquet(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = [name for name in _COLUMNS if name in file.schema_arrow.names]
            number = 0
            for batch in file.iter_batches(batch_size=8, columns=present):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}") from error


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", _object(line, f"{path}:{number}")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _object(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON: {error}", "write one object per line") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object", "write one object per line")
    return row


def _problem(row: Mapping[str, Any], where: str) -> Problem:
    missing = [name for name in _REQUIRED if row.get(name) is None]
    if missing:
        raise DataError(
            f"{where} has no {' and no '.join(missing)}", "data= takes the schema of CodeContests"
        )
    return Problem(
        str(row["name"]),
        tuple(test for kind in _TESTS for test in _tests(row, f"{kind}_tests", where)),
        tuple(_sources(row, "solutions", where)),
        tuple(_sources(row, "incorrect_solutions", where)),
    )


def _tests(row: Mapping[str, Any], column: str, where: str) -> Iterator[Test]:
    pairs = _pairs(row, column, ("input", "output"), where)
    for number, (stdin, expected) in enumerate(pairs):
        yield Test(f"{column}[{number}]", str(stdin), str(expected))


def _sources(row: Mapping[str, Any], column: str, where: str) -> Iterator[Source]:
    pairs = _pairs(row, column, ("language", "solution"), where)
    for number, (language, text) in enumerate(pairs):
        name = LANGUAGES.get(language, str(language).lower())
        yield Source(f"{column}[{number}]", name, str(text))


def _pairs(
    row: Mapping[str, Any], column: str, keys: tuple[str, str], where: str
) -> list[tuple[Any, Any]]:
    table = row.get(column) or {keys[0]: [], keys[1]: []}
    try:
        return list(zip(table[keys[0]], table[keys[1]], strict=True))
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{where}: {column} must hold two lists of one length, {keys[0]} and {keys[1]}",
            "data= takes the schema of CodeContests",
        ) from None
