"""Rows of benchmark files under their published field names: JSON, JSON lines, Parquet, the hub."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError, PluginError

Row = dict[str, Any]
HUB = "hub:"
"""Prefix of a data set on the hub: ``hub:owner/name``, ``hub:owner/name:configuration``."""
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error)


def read_rows(
    source: str, fields: Mapping[str, type | tuple[type, ...]], split: str = "test"
) -> list[Row]:
    """Return the rows of a local file or of a split on the hub, their fields checked.

    Files: ``.jsonl``, ``.json`` (a list, or one object of lists by column), ``.parquet``, the
    first two also with ``.gz``. Further fields are kept. Raises `DataError` for a source that is
    missing, empty or damaged, and for a row without a field or with another type.
    """
    numbered = _from_hub(source, split) if source.startswith(HUB) else _from_file(Path(source))
    rows = []
    for where, row in numbered:
        check_row(row, fields, where)
        rows.append(row)
    if not rows:
        raise DataError(f"{source} holds no row", "give a file with one problem per line")
    return rows


def check_row(row: Any, fields: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    """Raise `DataError` unless `row` is an object with these fields of these types."""
    if not isinstance(row, dict):
        raise DataError(
            f"{where}: expected an object, got {type(row).__name__}",
            "every row must be one JSON object",
        )
    for name, kind in fields.items():
        if name not in row:
            problem = f"field {name!r} is missing"
        elif not isinstance(row[name], kind) or (isinstance(row[name], bool) and kind is int):
            wanted = kind if isinstance(kind, tuple) else (kind,)
            names = " or ".join(each.__name__ for each in wanted)
            problem = f"field {name!r} must be {names}, got {type(row[name]).__name__}"
        else:
            continue
        raise DataError(f"{where}: {problem}", f"a row has the fields {', '.join(fields)}")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, gzip-compressed or not; `DataError` if there is none."""
    try:
        return json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no valid JSON: {error}", "fetch the file again") from None


def _from_file(path: Path) -> Iterator[tuple[str, Any]]:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        yield from ((f"{path} row {n}", row) for n, row in enumerate(_parquet(path), start=1))
    elif name.endswith(".json"):
        yield from _objects(path, read_json(path))
    elif name.endswith((".jsonl", ".ndjson")):
        yield from _lines(path)
    else:
        raise DataError(
            f"{path} has no suffix that names a format",
            "use .jsonl, .json or .parquet, or hub:OWNER/NAME for a data set on the hub",
        )


def _objects(path: Path, content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict) and content and all(isinstance(v, list) for v in content.values()):
        content = [dict(zip(content, values)) for values in zip(*content.values())]
    if not isinstance(content, list):
        raise DataError(f"{path} is no list of problems", "give a JSON list of objects")
    yield from ((f"{path} row {number}", row) for number, row in enumerate(content, start=1))


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    # Only "\n" ends a line: texts may hold the other separators that splitlines() knows.
    for number, line in enumerate(_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{path} line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path} line {number} is no valid JSON: {error}",
                "every line must be one JSON object",
            ) from None


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "check the path") from None
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}", "fetch the file again") from None


def _parquet(path: Path) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[Any] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}", "fetch the file again") from None
    return rows


def _from_hub(source: str, split: str) -> Iterator[tuple[str, Any]]:
    name, _, configuration = source.removeprefix(HUB).partition(":")
    try:
        import datasets
    except ImportError:
        raise PluginError(
            f"{source} needs the datasets library", "pip install 'cwm-eval[hub]'"
        ) from None
    try:
        rows = datasets.load_dataset(name, configuration or None, split=split)
    except Exception as error:
        raise DataError(
            f"{source} (split {split!r}) cannot be loaded: {error}",
            "check the name, the split and the network; or give a local file",
        ) from None
    for number, row in enumerate(rows, start=1):
        yield f"{source} row {number}", dict(row)
