"""Parquet shards: written atomically and resumably, read as a stream.

A directory of shards holds ``part-00000.parquet``, ``part-00001.parquet`` and so on. Every one that
bears its final name is whole: it was written under a temporary name, flushed to disk and renamed.
`ShardWriter.finish` adds ``manifest.json`` with row counts and SHA-256 sums; a directory without
it is one whose writer has not finished.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cwm_core.atomic import atomic_path, atomic_write, disk_errors
from cwm_core.data.columns import to_table
from cwm_core.errors import DataError
from cwm_core.runlock import RunLock

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MANIFEST = "manifest.json"
ROWS_PER_GROUP = 512
"""Rows that a reader decodes at once; bounds its memory."""


class ShardWriter:
    """Appends rows to a directory of shards; one writer at a time.

    Opening a directory that already holds shards continues after them. A shard is closed when it
    has `rows_per_shard` rows or is `seconds_per_shard` old, which bounds what a killed process
    loses; leaving the ``with`` block, by an exception too, writes the rows still held.

    Raises:
        RunError: the directory is unwritable, full, or another writer's.
        DataError: the directory holds a damaged shard or one with other columns; a row does not
            fit the schema.
    """

    def __init__(
        self,
        directory: Path,
        schema: pa.Schema,
        *,
        rows_per_shard: int = 4096,
        seconds_per_shard: float = 60.0,
    ) -> None:
        if rows_per_shard < 1:
            raise DataError(f"rows_per_shard is {rows_per_shard}", "give at least 1")
        self.directory = Path(directory)
        self.schema = schema
        self._names = frozenset(schema.names)
        self._rows_per_shard = rows_per_shard
        self._seconds_per_shard = seconds_per_shard
        self._pending: list[Mapping[str, Any]] = []
        self._oldest = 0.0
        self._files: list[Path] = []
        self._lock: RunLock | None = None
        self._rows_on_disk = 0

    def __enter__(self) -> ShardWriter:
        with disk_errors(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
        lock = RunLock(self.directory)
        lock.__enter__()
        self._lock = lock
        try:
            self._adopt()
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            self.flush()
        finally:
            self._unlock()

    @property
    def rows(self) -> int:
        """Rows written so far, by earlier writers too."""
        return self._rows_on_disk + len(self._pending)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row, whose keys must be the schema's columns."""
        if row.keys() != self._names:
            raise DataError(_column_mismatch(row.keys(), self._names, "a row"))
        if not self._pending:
            self._oldest = time.monotonic()
        self._pending.append(row)
        old = time.monotonic() - self._oldest >= self._seconds_per_shard
        if old or len(self._pending) >= self._rows_per_shard:
            self.flush()

    def flush(self) -> None:
        """Write the rows held in memory as a shard.

        Rows that do not fit the schema are left out of it and reported by one `DataError`, so
        that a bad row costs no other.
        """
        if not self._pending:
            return
        if self._lock is None:
            raise DataError(f"the writer of {self.directory} is closed", "use it in a with block")
        rows = self._pending
        table, problems = to_table(rows, self.schema)
        if table.num_rows:
            self._write_shard(table)
        self._pending = []
        if problems:
            raise DataError(
                f"{len(problems)} of {len(rows)} rows do not fit the schema and were left out of "
                f"{self.directory}; the first: {problems[0]}"
            )

    def done_keys(self, column: str) -> set[Any]:
        """Return the values of `column` in every row written so far."""
        done = (
            {row[column] for row in read_shards(self.directory, [column])} if self._files else set()
        )
        return done | {row[column] for row in self._pending}

    def finish(self) -> dict[str, Any]:
        """Write what is held and the manifest, and return the manifest."""
        self.flush()
        shards = [_describe(path) for path in self._files]
        manifest = {"rows": self._rows_on_disk, "columns": self.schema.names, "shards": shards}
        atomic_write(self.directory / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        return manifest

    def _adopt(self) -> None:
        """Sweep half-written files and count the finished ones."""
        with disk_errors(self.directory):
            for temporary in self.directory.glob(".*.tmp"):
                temporary.unlink()
            self._files = sorted(self.directory.glob("part-*.parquet"))
        for path in self._files:
            with _open(path) as file:
                if not file.schema_arrow.equals(self.schema):
                    names = file.schema_arrow.names
                    raise DataError(
                        _column_mismatch(names, self._names, str(path)),
                        "write to an empty directory",
                    )
                self._rows_on_disk += file.metadata.num_rows

    def _write_shard(self, table: pa.Table) -> None:
        import pyarrow.parquet as pq

        index = int(self._files[-1].stem.removeprefix("part-")) + 1 if self._files else 0
        path = self.directory / f"part-{index:05d}.parquet"
        with disk_errors(path):
            (self.directory / MANIFEST).unlink(missing_ok=True)
        with atomic_path(path) as temporary:
            pq.write_table(
                table,
                temporary,
                compression="zstd",
                row_group_size=ROWS_PER_GROUP,
                write_page_checksum=True,
            )
        self._files.append(path)
        self._rows_on_disk += table.num_rows

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.__exit__()
            self._lock = None


def shard_files(path: Path | str) -> list[Path]:
    """List the shards of a directory in order, or the one file that `path` names.

    Raises:
        DataError: there are none; the hint names subdirectories that hold some.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.exists():
        raise DataError(f"{path} does not exist", "check the path, or write the shards first")
    files = sorted(p for p in path.glob("*.parquet") if not p.name.startswith("."))
    if not files:
        inner = sorted({str(p.parent) for p in path.glob("*/*.parquet")})
        hint = f"did you mean {' or '.join(inner)}?" if inner else "write the shards first"
        raise DataError(f"{path} holds no Parquet shards", hint)
    return files


def read_shards(
    path: Path | str,
    columns: list[str] | None = None,
    *,
    where: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Stream the rows of all shards in order, as dicts of plain Python values.

    `columns` reads only those; `where` keeps the rows whose columns equal the given values, and
    is applied before rows become Python objects.

    Raises:
        DataError: a shard is missing, damaged or lacks a column.
    """
    for file in shard_files(path):
        yield from _read_file(file, columns, where or {})


def count_rows(path: Path | str) -> int:
    """Count the rows of all shards from their footers."""
    total = 0
    for file in shard_files(path):
        with _open(file) as opened:
            total += opened.metadata.num_rows
    return total


def is_finished(path: Path | str) -> bool:
    """Whether the writer of this directory has finished."""
    return (Path(path) / MANIFEST).is_file()


def verify_shards(directory: Path | str) -> dict[str, Any]:
    """Compare every shard with the manifest and return the manifest.

    Raises:
        DataError: there is no manifest, or a shard is missing, unknown or altered.
    """
    directory = Path(directory)
    if not is_finished(directory):
        raise DataError(
            f"{directory} has no {MANIFEST}", "its writer has not finished; run it again"
        )
    manifest = json.loads((directory / MANIFEST).read_text())
    found = {path.name for path in directory.glob("*.parquet")}
    known = {shard["file"] for shard in manifest["shards"]}
    for name in sorted(found ^ known):
        state = "is missing" if name in known else "is not in the manifest"
        raise DataError(f"{directory / name} {state}", f"restore it or write {directory} anew")
    for shard in manifest["shards"]:
        if _describe(directory / shard["file"]) != shard:
            raise _damaged(directory / shard["file"], "its checksum differs from the manifest's")
    return manifest


def _read_file(
    path: Path, columns: list[str] | None, where: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    with _open(path) as file:
        present = set(file.schema_arrow.names)
        wanted = file.schema_arrow.names if columns is None else list(columns)
        if missing := [name for name in [*wanted, *where] if name not in present]:
            raise DataError(
                f"{path} has no column {missing[0]!r}", f"it has: {', '.join(sorted(present))}"
            )
        needed = list(dict.fromkeys([*wanted, *where]))
        batches = file.iter_batches(batch_size=ROWS_PER_GROUP, columns=needed)
        while True:
            with _damage_named(path):
                rows = next(batches, None)
            if rows is None:
                return
            yield from _matching(rows, where).select(wanted).to_pylist()


def _matching(batch: pa.RecordBatch, where: Mapping[str, Any]) -> pa.RecordBatch:
    import pyarrow.compute as pc

    for name, value in where.items():
        batch = batch.filter(pc.equal(batch.column(name), value))
    return batch


@contextlib.contextmanager
def _open(path: Path) -> Iterator[pq.ParquetFile]:
    import pyarrow.parquet as pq

    with _damage_named(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
    with file:
        yield file


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (PermissionError, FileNotFoundError) as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> DataError:
    if path.suffix != ".parquet":
        return DataError(
            f"{path} is no Parquet file: {reason.rstrip('.')}",
            "give a directory of shards, or a run directory with one",
        )
    return DataError(
        f"{path} is damaged: {reason.rstrip('.')}",
        "delete this file and run again the command that wrote it; the other shards are kept",
    )


def _column_mismatch(found: Any, wanted: Any, what: str) -> str:
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
    return f"{what} {' and '.join(parts) or 'has columns of other types'}"


def _describe(path: Path) -> dict[str, Any]:
    with _open(path) as opened:
        rows = opened.metadata.num_rows
    with _damage_named(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "rows": rows, "bytes": path.stat().st_size, "sha256": digest}
