"""What a recorder knows of a code object of the program, decided once.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

import opcode
import sys
from types import CodeType
from typing import Any

from cwm_tracer.capture.statements import Entry, Statements
from cwm_tracer.capture.stream import FIELD, RECORD

RETURNS, SUSPENDS, REPEATS = 1, 2, 4
"""Marks of an instruction: it returns; it yields or awaits; it is a round of a comprehension."""

_GENERATORS = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
_OPTIMIZED = 0x1
_INLINED = {"<listcomp>", "<setcomp>", "<dictcomp>"}
_RETURNING = {
    opcode.opmap[name]: RETURNS for name in ("RETURN_VALUE", "RETURN_CONST") if name in opcode.opmap
}
_SUSPENDING = {opcode.opmap["YIELD_VALUE"]: SUSPENDS}
if sys.version_info >= (3, 13):
    # There, the instruction after the yield is the frame's last when it is reported.
    _SUSPENDING[opcode.opmap["RESUME"]] = SUSPENDS


def _table(marks: dict[int, int]) -> bytes:
    return bytes(marks.get(operation, 0) for operation in range(256))


_MARKS = _table(_RETURNING)
_GENERATOR_MARKS = _table(_RETURNING | _SUSPENDING)
IMPLICIT = frozenset(
    {
        "__module__",
        "__qualname__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__conditional_annotations__",
        "__classdict__",
        "__classcell__",
        "__class__",
        "__type_params__",
        ".type_params",
        ".generic_base",
    }
)
"""Names that the interpreter binds in class bodies and methods, on some versions only."""


class Code:
    """What is known of a code object of the program."""

    __slots__ = ("code", "init", "marks", "multi", "names", "number", "starts")

    def __init__(
        self, code: CodeType, number: int, statements: Statements, entry: Entry | None
    ) -> None:
        self.code = code
        self.number = number
        self.init = code.co_name == "__init__" and code.co_argcount > 0
        self.marks = _marks(code, statements)
        """One byte per code unit."""
        self.multi = statements.multi
        """Lines of statements over several lines, mapped to the one to show."""
        self.names = _names(code, statements)
        """Variables to show; None for a class body or module, which shows its namespace."""
        self.starts = entry is None or (
            code.co_name == entry.name and code.co_firstlineno in (entry.first_line, entry.line)
        )
        """Whether recording begins with a call of it."""
        if code.co_name in ("<lambda>", "<genexpr>"):
            lines = {line for *_, line in code.co_lines() if line is not None}
            self.multi = dict.fromkeys(lines, code.co_firstlineno) if len(lines) > 1 else {}

    @staticmethod
    def of(
        code: CodeType, number: int, filename: str, statements: Statements, entry: Entry | None
    ) -> Code | None:
        """Decide on a code object: None if it is not the program's, or has no frames of its own."""
        if code.co_filename != filename or code.co_name in _INLINED:
            return None
        return Code(code, number, statements, entry)

    def record(self) -> str:
        """Return the record that introduces it."""
        name = "".join(c for c in self.code.co_qualname if c not in (FIELD, RECORD))
        return FIELD.join(["k", str(self.number), str(self.code.co_firstlineno), name]) + RECORD


def explicit(namespace: Any) -> dict[str, Any]:
    """Return what the source itself binds in a class body or module.

    A class body's namespace can be any mapping and hold any name; only a `dict` is looked into,
    since another would run code of the program.
    """
    if type(namespace) is not dict:
        return {}
    return {
        name: value
        for name, value in namespace.items()
        if type(name) is str and name not in IMPLICIT and name.isidentifier()
    }


def _marks(code: CodeType, statements: Statements) -> bytes:
    table = _GENERATOR_MARKS if code.co_flags & _GENERATORS else _MARKS
    marks = bytearray(code.co_code[::2].translate(table))
    if sys.version_info >= (3, 12):
        for offset in statements.repeats(code):
            marks[offset >> 1] |= REPEATS
    return bytes(marks)


def _names(code: CodeType, statements: Statements) -> tuple[str, ...] | None:
    """Return the variables of a function in the order of their slots: arguments, locals, cells."""
    if not code.co_flags & _OPTIMIZED:
        return None
    hidden: frozenset[str] = frozenset()
    if sys.version_info >= (3, 12):
        hidden = statements.hidden(code)
    slots = dict.fromkeys([*code.co_varnames, *code.co_cellvars, *code.co_freevars])
    if "__class__" in code.co_freevars:
        return tuple(n for n in slots if n not in IMPLICIT | hidden and n.isidentifier())
    return tuple(name for name in slots if name not in hidden)
