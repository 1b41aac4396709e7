# ruff: noqa: PTH118, PTH123
"""The repository's files and functions, as the recorder in a test process knows them."""

from __future__ import annotations

import json
import opcode
import os
import sys
from types import CodeType, FrameType
from typing import Any

from cwm_tracer.capture.statements import Statements

_GENERATORS = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
_OPTIMIZED = 0x1
_RESUME = opcode.opmap.get("RESUME")
_YIELD_FROM = opcode.opmap.get("YIELD_FROM")
_YIELDS = {opcode.opmap["YIELD_VALUE"]}
if sys.version_info >= (3, 13):
    # There, the instruction after the yield is the frame's last when it is reported.
    _YIELDS.add(opcode.opmap["RESUME"])
_RETURNS = {opcode.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in opcode.opmap}

INLINED = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})
"""Frames that exist before Python 3.12 only; never shown."""


class Function:
    """A code object of the repository, and how often it was considered as the root of a trace."""

    __slots__ = (
        "closed",
        "code",
        "file",
        "generator",
        "hides",
        "multi",
        "nested",
        "operations",
        "qualname",
        "repeats",
        "root",
        "seen",
        "taken",
    )

    def __init__(self, code: CodeType, file: SourceFile) -> None:
        name = code.co_name
        known = file.names.get(code.co_firstlineno)
        self.code = code
        self.file = file
        self.root = known is not None and known.rpartition(".")[2] == name
        self.nested = bool(code.co_flags & _OPTIMIZED) and name not in INLINED
        self.qualname = known if self.root and known else getattr(code, "co_qualname", name)
        self.generator = bool(code.co_flags & _GENERATORS)
        self.operations = code.co_code
        self.hides = "__class__" in code.co_freevars
        inlines = sys.version_info >= (3, 12) and self.nested
        self.repeats = file.statements.repeats(code) if inlines else frozenset()
        self.multi = file.statements.multi
        if name in ("<lambda>", "<genexpr>"):
            self.multi = {}
        self.seen = self.taken = 0
        self.closed = not self.root

    def fresh(self, frame: FrameType) -> bool:
        """Whether a called frame begins, rather than goes on after a yield."""
        last = frame.f_lasti
        if not self.generator or last < 0 or _RESUME is None:
            return not self.generator or last < 0
        return self.operations[last] == _RESUME and not self.operations[last + 1] & 3

    def yields(self, last: int) -> bool:
        """Whether a frame that is left after the instruction at this offset may be resumed."""
        if not self.generator:
            return False
        operations = self.operations
        if operations[last] in _YIELDS:
            return True
        return last + 2 < len(operations) and operations[last + 2] == _YIELD_FROM

    def returns(self, last: int) -> bool:
        """Whether a frame that is left after the instruction at this offset returns."""
        return self.operations[last] in _RETURNS


class SourceFile:
    """A file of the repository, from the index."""

    def __init__(self, number: int, described: dict[str, Any]) -> None:
        self.number = number
        self.path = described["path"]
        self.names = {line: name for line, name, _ in described["functions"]}
        spans = [tuple(span) for span in described["spans"]]
        self.statements = Statements(dict(described["multi"]), spans)
        self.functions: dict[int, Function] = {}
        """By id of the code object, which the function keeps alive."""

    def function(self, code: CodeType) -> Function:
        """Return what is known of one of its code objects."""
        found = self.functions.get(id(code))
        if found is None:
            found = self.functions[id(code)] = Function(code, self)
        return found


class Sources(dict):
    """File names of code objects, mapped to files of the repository, or None."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._directory = directory
        with open(os.path.join(directory, "files.json"), encoding="utf-8") as file:
            self._numbers = json.load(file)["files"]
        self._loaded: dict[int, SourceFile] = {}

    def __missing__(self, name: str) -> SourceFile | None:
        number = self._numbers.get(os.path.realpath(name)) if name[:1] != "<" else None
        if number is not None and number not in self._loaded:
            path = os.path.join(self._directory, f"{number}.json")
            with open(path, encoding="utf-8") as file:
                self._loaded[number] = SourceFile(number, json.load(file))
        self[name] = None if number is None else self._loaded[number]
        return self[name]
