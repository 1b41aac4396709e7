# mypy: ignore-errors
# ruff: noqa: PTH123
"""Which file of the repository imports which, read from the statements of loaded modules."""

from __future__ import annotations

import ast
import os
import sys

DYNAMIC = frozenset(
    ("import_module", "__import__", "pkgutil", "runpy", "entry_points", "run_module")
)
"""Names by which code imports what no statement says."""


def files_of(root):
    """Return the loaded modules whose files lie below a root: name to file, relative to it."""
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or not path.endswith(".py"):
            continue
        path = os.path.realpath(path)
        if path.startswith(root) and "site-packages" not in path:
            found[name] = path[len(root) :].replace(os.sep, "/")
    return found


def graph(root):
    """Return the files that each loaded file imports."""
    files = files_of(root)
    everything = sorted(set(files.values()))
    edges = {}
    for name, path in files.items():
        module = sys.modules[name]
        package = getattr(module, "__package__", None) or ""
        try:
            with open(root + path, "rb") as file:
                tree = ast.parse(file.read())
        except (OSError, SyntaxError, ValueError):
            edges[path] = everything
            continue
        names = set(imported(tree, package)) | set(_parents(name))
        known = {files[each] for each in names if each in files}
        edges[path] = everything if _is_dynamic(tree) else sorted(known | set(edges.get(path, ())))
    return edges


def imported(tree, package):
    """Yield the names of modules that statements may import, and of the packages they lie in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytest_plugins"
            for target in node.targets
        ):
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield from _with_parents(part.value)


def _absolute(node, package):
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _with_parents(name):
    return [*_parents(name), name]


def _parents(name):
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _is_dynamic(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in DYNAMIC:
            return True
        if isinstance(node, ast.Attribute) and node.attr in DYNAMIC:
            return True
        if isinstance(node, ast.alias) and node.name.rpartition(".")[2] in DYNAMIC:
            return True
    return False
