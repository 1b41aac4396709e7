"""Where functions come from: Python files, directories, packages, JSON-lines data sets."""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from cwm_core.errors import CwmError, DataError
from cwm_tracer.collect.functions_config import FieldNames
from cwm_tracer.programs.benchmark_files import FIELDS
from cwm_tracer.programs.extract import asserted_calls, unix_lines
from cwm_tracer.target import read_source

BENCHMARKS = ("cruxeval", "humaneval", "mbpp")
_LEFT_OUT = frozenset(("__pycache__", "node_modules", "build", "dist", "site-packages", "venv"))


@dataclass(frozen=True, slots=True)
class Text:
    """A Python text in which functions are looked for, or calls of them."""

    source: str
    where: str
    """File, or data set and row."""
    module: str = ""
    """Dotted name under which it can be imported; empty if it cannot."""
    entry: str = ""
    """The one function to take; empty for all."""
    inputs: tuple[str, ...] = ()
    """Argument lists that come with it."""
    usages: tuple[str, ...] = ()
    """Texts that call the function."""
    aliases: tuple[str, ...] = ()
    """Names by which those call it."""
    is_test: bool = False
    """Whether it only serves to look for calls."""


def read_source_texts(source: str, fields: FieldNames) -> Iterator[Text | tuple[str, str]]:
    """Yield the texts of one source; (where, reason) for what cannot be read.

    Raises:
        DataError: there is nothing of that name, or a data set is damaged.
    """
    path = Path(source)
    if path.is_dir():
        yield from _directory(path, path, "")
    elif source.endswith((".jsonl", ".jsonl.gz", ".json.gz")):
        yield from (_of_row(row, where, fields) for where, row in _rows(path))
    elif source.endswith(".py") or path.is_file():
        yield Text(read_source(path), str(path), is_test=is_test_file(Path(path.name)))
    else:
        yield from _installed(source)


def is_benchmark(source: str) -> bool:
    """Whether a source is a data set in the format of a known benchmark."""
    if not source.endswith((".jsonl", ".jsonl.gz")):
        return False
    _, row = next(iter(_rows(Path(source))), ("", {}))
    return _format(row) in BENCHMARKS


def is_test_file(path: Path) -> bool:
    """Whether a file holds tests, by its name or its directory's."""
    inside = {"tests", "test"} & set(path.parts[:-1])
    return (
        bool(inside)
        or path.name.startswith("test_")
        or path.stem.endswith("_test")
        or (path.name == "conftest.py")
    )


def _directory(root: Path, top: Path, prefix: str) -> Iterator[Text | tuple[str, str]]:
    """Yield the files below a directory, in the order of their names."""
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(top)
        if any(part in _LEFT_OUT or part.startswith(".") for part in inner.parts):
            continue
        module = ".".join(inner.with_suffix("").parts).removesuffix("__init__").rstrip(".")
        name = ".".join(filter(None, (prefix, module))) if prefix else ""
        if name and path.name == "__init__.py":
            name += ".__init__"
        try:
            yield Text(read_source(path), str(path), name, is_test=is_test_file(inner))
        except CwmError as error:
            yield str(path), error.message


def _installed(name: str) -> Iterator[Text | tuple[str, str]]:
    """Yield the files of an installed package or module, without importing it."""
    spec = (
        PathFinder.find_spec(name.partition(".")[0]) if name.isidentifier() or "." in name else None
    )
    if spec is None:
        raise DataError(
            f"no source of functions {name!r} is found",
            "give a Python file, a directory, a .jsonl file, or the name of an installed package",
        )
    for part in name.split(".")[1:]:
        path = list(spec.submodule_search_locations or ())
        spec = PathFinder.find_spec(f"{spec.name}.{part}", path)
        if spec is None:
            raise DataError(f"no module {name!r} is installed", "check its name")
    if spec.submodule_search_locations:
        directory = Path(next(iter(spec.submodule_search_locations)))
        yield from _directory(directory, directory, name)
    elif spec.origin and spec.origin.endswith(".py"):
        yield Text(read_source(Path(spec.origin)), spec.origin, name)
    else:
        raise DataError(f"module {name!r} has no Python source", "give another source")


def is_installed(name: str) -> bool:
    """Whether a top-level module can be imported here."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    where = f"{path.name}:{number}"
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise DataError(f"{where} is no JSON object", "give one object per line")
                    yield where, row
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}", "give a file of JSON lines") from None


def _format(row: dict[str, Any]) -> str:
    return next((name for name, fields in FIELDS.items() if fields.keys() <= row.keys()), "")


def _of_row(row: dict[str, Any], where: str, fields: FieldNames) -> Text:
    format = _format(row)
    if format == "cruxeval":
        return Text(row["code"], f"{where} {row['id']}", entry="f", inputs=(row["input"],))
    if format == "humaneval":
        source = row["prompt"] + row["canonical_solution"]
        usages, entry = (row["test"],), row["entry_point"]
        return Text(
            source, f"{where} {row['task_id']}", "", entry, usages=usages, aliases=("candidate",)
        )
    if format == "mbpp":
        source = unix_lines(f"{row['code']}\n{row['test_setup_code']}".rstrip() + "\n")
        entry, inputs = asserted_calls(source, row["test_list"])
        usages = tuple(row["test_list"])
        return Text(source, f"{where} {row['task_id']}", "", entry, inputs, usages)
    return _of_own_row(row, where, fields)


def _of_own_row(row: dict[str, Any], where: str, fields: FieldNames) -> Text:
    source = row.get(fields.source)
    if not isinstance(source, str):
        raise DataError(
            f"{where} has no text in the field {fields.source!r}, only {', '.join(sorted(row))}",
            "name the fields with fields.source=..., fields.entry=..., fields.inputs=...",
        )
    entry = row.get(fields.entry) or ""
    inputs, tests = _texts(row.get(fields.inputs)), _texts(row.get(fields.tests))
    if not isinstance(entry, str) or inputs is None or tests is None:
        raise DataError(
            f"{where}: {fields.entry}, {fields.inputs} or {fields.tests} is of another type",
            "a name, a list of texts, and a text or list of texts are expected",
        )
    return Text(unix_lines(source), where, "", entry, inputs, tests)


def _texts(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    whole = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return tuple(value) if whole else None


class Usages:
    """Texts by the names that they call."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: dict[str, list[str]] = {}
        for text in texts:
            for name in _called_names(text):
                self._texts.setdefault(name, []).append(text)

    def of(self, name: str, most: int = 3) -> tuple[str, ...]:
        """Return the first texts that call something of the name."""
        return tuple(self._texts.get(name, ())[:most])


def _called_names(text: str) -> set[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                found.add(node.func.id)
            elif isinstance(node.func, ast.Attribute):
                found.add(node.func.attr)
    return found
