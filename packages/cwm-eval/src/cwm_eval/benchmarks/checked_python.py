"""Python in benchmark files, checked when it is read: a damaged problem must not count as a mistake
of whoever answers it."""

from __future__ import annotations

import ast
import warnings
from typing import Literal

from cwm_core.errors import DataError


def check_python(
    source: str, where: str, *, defines: str = "", mode: Literal["exec", "eval"] = "exec"
) -> None:
    """Raise `DataError` unless `source` is valid Python (in ``eval`` mode, one expression).

    `defines` is a function or class that it has to define at its top level.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in strings, for instance
            tree = ast.parse(source.strip() if mode == "eval" else source, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{where} is no valid Python: {error}", "correct the data") from None
    if not defines:
        return
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    body = tree.body if isinstance(tree, ast.Module) else []
    if not any(isinstance(node, kinds) and node.name == defines for node in body):
        raise DataError(f"{where} does not define {defines!r}", "correct the data")
