# ruff: noqa: PTH123
"""What a step depends on besides its variables: module and class state, the stack, identities.

Traces do not show it: a step that comes out differently after reading it proves nothing.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType, ModuleType
from typing import Any

_EXCEPTION = ("__traceback__", "__context__", "__cause__", "exc_info")
_STACK = ("extract_stack", "_getframe", "currentframe")
_IDENTITY = ("id",)
_CONTAINERS = (dict, list, set)
_DATA = (*_CONTAINERS, bool, int, float, str, bytes, tuple, frozenset, type(None))


class Calls:
    """Collects the code of all functions that are called while it is entered."""

    def __init__(self) -> None:
        self._codes: set[CodeType] = set()

    def __enter__(self) -> Calls:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self._codes.add(frame.f_code)

    def names(self) -> set[str]:
        """Return the names and attributes that the called functions mention."""
        return {name for code in self._codes for name in mentioned(code)}


def mentioned(code: CodeType) -> Iterator[str]:
    """Yield the global names, attributes and strings (for `getattr`) of a code object."""
    yield from code.co_names
    yield from (constant for constant in code.co_consts if isinstance(constant, str))


def outside_state(names: Iterable[str], root: str) -> list[str]:
    """Return those of the names that stand for state which no variable of a call holds.

    That is, in modules below `root`: what functions assign after ``global``, or to attributes of
    ``cls``; containers in modules, and objects of the modules' own classes; data attributes of
    classes, which anybody may set; parts of exceptions that are not shown; the stack of calls; and
    what `id` returns.
    """
    wanted = set(names)
    found = wanted & {*_EXCEPTION, *_STACK, *_IDENTITY}
    modules = list(_modules(root))
    own = {module.__name__ for module in modules}
    for module in modules:
        found |= wanted & set(_assigned(str(module.__file__)))
        found |= wanted & set(_held(module, own))
    return sorted(found)


def _held(module: ModuleType, own: set[str]) -> Iterator[str]:
    """Yield the names of objects in a module that may change, and of data in its classes."""
    for name, value in list(vars(module).items()):
        if isinstance(value, _CONTAINERS) or type(value).__module__ in own:
            yield name
        elif isinstance(value, type) and value.__module__ == module.__name__:
            yield from (key for key, held in vars(value).items() if isinstance(held, _DATA))


def _modules(root: str) -> Iterator[ModuleType]:
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path.endswith(".py") and os.path.realpath(path).startswith(root + os.sep):
            yield module


def _assigned(path: str) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif (
            isinstance(node, ast.Attribute)
            and not isinstance(node.ctx, ast.Load)
            and isinstance(node.value, ast.Name)
            and node.value.id == "cls"
        ):
            yield node.attr
