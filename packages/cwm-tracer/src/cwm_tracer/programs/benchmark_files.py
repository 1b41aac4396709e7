"""Programs out of files: CRUXEval, HumanEval, MBPP, our own JSON lines, plain Python files.

Our own format is one JSON object per line: `{"source": str, "entry": str, "inputs": [str, ...]}`,
with `"id"` and any other string or number fields ignored. `.gz` files are decompressed.
"""

import ast
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError
from cwm_tracer.programs import extract
from cwm_tracer.programs.program import Program

Row = dict[str, Any]

FIELDS: dict[str, dict[str, type]] = {
    "cruxeval": {"code": str, "input": str, "output": str, "id": str},
    "humaneval": {
        "task_id": str,
        "prompt": str,
        "entry_point": str,
        "canonical_solution": str,
        "test": str,
    },
    "mbpp": {"code": str, "task_id": int, "test_setup_code": str, "test_list": list},
    "cwm": {"source": str, "entry": str, "inputs": list},
}
"""The fields that a row of each JSON-lines format must have."""

FORMATS = ("auto", "python", *FIELDS)


def read_programs(
    path: str | Path,
    format: str = "auto",
    limit: int | None = None,
    entry: str | None = None,
    inputs: Sequence[str] = (),
) -> Iterator[Program]:
    """The programs of a file, lazily; at most `limit` of them.

    `format` is one of `FORMATS`; `auto` takes `.py` for Python and otherwise goes by the fields of
    the first row. `entry` and `inputs` apply to Python files only: by default the last top-level
    function, and the literal argument lists that the file itself calls it with. A benchmark task
    whose tests hold no literal argument list has no inputs.

    Raises DataError (naming file, line and remedy) for a file that is missing, empty, damaged or
    of another shape.
    """
    path = Path(path)
    if format not in FORMATS:
        known = ", ".join(FORMATS)
        raise DataError(f"unknown program file format {format!r}", f"use one of {known}")
    if format == "python" or (format == "auto" and path.suffix == ".py"):
        return islice(iter([_python_file(path, entry, inputs)]), limit)
    return islice(_json_lines(path, format), limit)


def _open_error(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"no such program file: {path}", "check the path")
    if isinstance(error, UnicodeDecodeError):
        return DataError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}",
            "convert the file to UTF-8, or name it .gz if it is compressed",
        )
    if isinstance(error, (EOFError, gzip.BadGzipFile, zlib.error)):
        return DataError(f"{path} is not a whole gzip file: {error}", "fetch the file again")
    return DataError(f"cannot read {path}: {error}", "check that it is a readable file")


_READ_ERRORS = (OSError, EOFError, UnicodeDecodeError, zlib.error)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Non-empty lines with their numbers."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            for number, line in enumerate(file, 1):
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if text:
                    yield number, text
    except _READ_ERRORS as error:
        raise _open_error(path, error) from None


def _json_lines(path: Path, format: str) -> Iterator[Program]:
    seen = False
    for number, line in _lines(path):
        row = _row(path, number, line)
        if format == "auto":
            format = _detect(path, number, row)
        _check(path, number, row, format)
        seen = True
        yield _MAKERS[format](row, f"{path.name}:{number}")
    if not seen:
        raise DataError(f"{path} is empty", "give a file with one JSON object per line")


def _row(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}:{number}: not valid JSON: {error}", "every line must be one JSON object"
        ) from None
    if not isinstance(row, dict):
        raise DataError(
            f"{path}:{number}: expected a JSON object, got {type(row).__name__}",
            "every line must be one JSON object",
        )
    return row


def _detect(path: Path, number: int, row: Row) -> str:
    for name, fields in FIELDS.items():
        if fields.keys() <= row.keys():
            return name
    known = "; ".join(f"{name}: {', '.join(fields)}" for name, fields in FIELDS.items())
    given = ", ".join(sorted(row)) or "(none)"
    raise DataError(
        f"{path}:{number}: fields {given} fit no known format", f"known formats are {known}"
    )


def _check(path: Path, number: int, row: Row, format: str) -> None:
    for name, kind in FIELDS[format].items():
        if name not in row:
            problem = f"field {name!r} is missing"
        elif not isinstance(row[name], kind) or isinstance(row[name], bool):
            problem = f"field {name!r} must be {kind.__name__}, got {type(row[name]).__name__}"
        elif kind is list and not all(isinstance(item, str) for item in row[name]):
            problem = f"field {name!r} must be a list of strings"
        else:
            continue
        raise DataError(
            f"{path}:{number}: {problem}",
            f"a {format} row has the fields {', '.join(FIELDS[format])}",
        )


def _cruxeval(row: Row, where: str) -> Program:
    return Program.of(row["code"], "f", [row["input"]], origin=f"{where} {row['id']}")


def _humaneval(row: Row, where: str) -> Program:
    source = row["prompt"] + row["canonical_solution"]
    inputs = extract.literal_calls(row["test"], "candidate")
    return Program.of(source, row["entry_point"], inputs, origin=f"{where} {row['task_id']}")


def _mbpp(row: Row, where: str) -> Program:
    source = extract.unix_lines(row["code"])
    if row["test_setup_code"].strip():
        source += "\n" + extract.unix_lines(row["test_setup_code"])
    entry, inputs = extract.asserted_calls(source, row["test_list"])
    return Program.of(source, entry, inputs, origin=f"{where} {row['task_id']}")


def _own(row: Row, where: str) -> Program:
    return Program.of(row["source"], row["entry"], row["inputs"], origin=where)


_MAKERS: dict[str, Callable[[Row, str], Program]] = {
    "cruxeval": _cruxeval,
    "humaneval": _humaneval,
    "mbpp": _mbpp,
    "cwm": _own,
}


def _python_file(path: Path, entry: str | None, inputs: Sequence[str]) -> Program:
    source = extract.unix_lines("\n".join(_source_lines(path)))
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        raise DataError(
            f"{path}:{line}: not valid Python: {getattr(error, 'msg', error)}", "correct the file"
        ) from None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if entry is None:
        if not functions:
            raise DataError(f"{path}:1: no top-level function to run", "name one with `entry`")
        entry = functions[-1].name
    given = tuple(inputs) or extract.literal_calls(source, entry)
    if not given:
        given = _no_arguments(path, entry, functions)
    return Program.of(source, entry, given, origin=path.name)


def _source_lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8-sig").splitlines()
    except _READ_ERRORS as error:
        raise _open_error(path, error) from None


def _no_arguments(path: Path, entry: str, functions: list[ast.FunctionDef]) -> tuple[str, ...]:
    """The empty argument list, if the entry function can be called with it."""
    for node in functions:
        required = len(node.args.posonlyargs) + len(node.args.args) - len(node.args.defaults)
        if node.name == entry and required == 0:
            return ("",)
    raise DataError(
        f"{path}: nothing calls {entry!r} with literal arguments",
        "give argument lists with `inputs`",
    )
