# ruff: noqa: PTH103, PTH118, PTH123, PTH202
"""What the repository's files say, read once by the interpreter that will run the tests.

``python -m _cwm_runtime.index ROOT OUT INCLUDE EXCLUDE`` (two JSON lists of patterns) writes
``OUT/files.json`` (absolute path to number) and one ``OUT/NUMBER.json`` per file, see `describe`.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import os
import sys
import tokenize
import warnings
from collections.abc import Iterator
from typing import Any

from cwm_tracer.capture.statements import Statements

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LARGEST = 4 << 20


def main(root: str, out: str, include: str, exclude: str) -> None:
    """Write the index of all Python files below a directory."""
    warnings.simplefilter("ignore")
    os.makedirs(out, exist_ok=True)
    numbers: dict[str, int] = {}
    refused: dict[str, str] = {}
    for path in _python_files(root):
        relative = os.path.relpath(path, root).replace(os.sep, "/")
        if not _chosen(relative, json.loads(include), json.loads(exclude)):
            continue
        try:
            described = describe(path, relative)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            refused[relative] = f"{type(error).__name__}: {error}"
            continue
        numbers[os.path.realpath(path)] = len(numbers)
        _write(out, str(numbers[os.path.realpath(path)]), described)
    _write(out, "files", {"files": numbers, "refused": refused})


def describe(path: str, relative: str) -> dict[str, Any]:
    """Return source, statements, functions and blocks of a file.

    ``functions`` maps the first line of a function (a decorator's) to its qualified name and the
    line of its ``def``. A block is what is shown of a file when a line in it runs: a function or
    another statement of a module or class body (an ``if`` with functions in it), as first line,
    last line, and the line ranges of the class headers around it.
    """
    if os.path.getsize(path) > _LARGEST:
        raise ValueError(f"larger than {_LARGEST} bytes")
    with tokenize.open(path) as file:
        source = file.read()
    tree = ast.parse(source)
    statements = Statements.of(tree)
    return {
        "path": relative,
        "source": source,
        "multi": list(statements.multi.items()),
        "spans": statements.comprehensions,
        "functions": list(_functions(tree, "")),
        "blocks": list(_blocks(tree.body, [])),
    }


def _write(out: str, name: str, content: Any) -> None:
    with open(os.path.join(out, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(content, file)


def _python_files(root: str) -> Iterator[str]:
    for directory, inner, files in os.walk(root):
        inner[:] = sorted(
            name for name in inner if name not in _SKIPPED and not name.startswith(".")
        )
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.join(directory, name)


def _chosen(path: str, include: list[str], exclude: list[str]) -> bool:
    return _matches(path, include) and not _matches(path, exclude)


def _matches(path: str, patterns: list[str]) -> bool:
    """Match a path, or any end of it that begins after a slash."""
    parts = path.split("/")
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    return any(fnmatch.fnmatchcase(end, pattern) for end in ends for pattern in patterns)


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[int, str, int]]:
    for child in ast.iter_child_nodes(node):
        inner = prefix
        if isinstance(child, _FUNCTIONS):
            yield _first_line(child), prefix + child.name, child.lineno
            inner = prefix + child.name + ".<locals>."
        elif isinstance(child, ast.ClassDef):
            inner = prefix + child.name + "."
        yield from _functions(child, inner)


def _blocks(body: list[Any], headers: list[Any]) -> Iterator[tuple[int, int, list[Any]]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            first = _first_line(node.body[0])
            header = (node.lineno, max(node.lineno, first - 1))
            yield from _blocks(node.body, [*headers, header])
        else:
            yield _first_line(node), node.end_lineno, headers


def _first_line(node: Any) -> int:
    return min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", []))])


if __name__ == "__main__":
    main(*sys.argv[1:])
