"""Scripts: programs whose entry is their own module level.

The input of a script is written like the arguments of a call, ``argv=['-v'], stdin='3\\n1 2\\n'``,
both optional. Uses the standard library only: also the process of the traced program reads it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

MODULE = "<module>"
"""The entry of a script, and the name of its outermost frame."""

HIDDEN = frozenset(
    {
        "__name__",
        "__doc__",
        "__package__",
        "__loader__",
        "__spec__",
        "__file__",
        "__builtins__",
        "__warningregistry__",
    }
)
"""What the interpreter binds in every module before it runs."""


def script_input(argv: Sequence[str] = (), stdin: str = "") -> str:
    """Write the input of a script; `read_input` is the inverse."""
    parts = [f"argv={list(argv)!r}"] if argv else []
    return ", ".join([*parts, f"stdin={stdin!r}"] if stdin else parts)


def read_input(text: str) -> tuple[list[str], str]:
    """Return the arguments and the standard input that a text says, without evaluating code.

    Raises:
        ValueError: it says something else.
    """
    try:
        call = ast.parse(f"f({text}\n)", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        found = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError, TypeError):
        raise ValueError(_expected(text)) from None
    argv, stdin = found.pop("argv", []), found.pop("stdin", "")
    strings = isinstance(argv, list) and all(isinstance(word, str) for word in [*argv, stdin])
    if call.args or found or not strings:
        raise ValueError(_expected(text))
    return argv, stdin


def _expected(text: str) -> str:
    return f"the input of a script looks like argv=['-v'], stdin='3\\n', not like {text[:100]!r}"
