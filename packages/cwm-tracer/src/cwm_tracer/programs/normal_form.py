"""What remains of a program when names, constants, docstrings and comments are taken away."""

import ast
import builtins
import hashlib
import zlib
from collections.abc import Callable

from cwm_tracer.programs.program import normalise

SHINGLE = 5
"""Tokens per shingle."""

_METHODS = {
    name
    for kind in (list, dict, set, str, tuple, int, bytes)
    for name in dir(kind)
    if not name.startswith("_")
}
_KNOWN = {name for name in dir(builtins) if not name.startswith("_")} | {"self", "super"}
_SKIPPED = frozenset(
    (
        "ctx",
        "type_comment",
        "type_ignores",
        "kind",
        "annotation",
        "returns",
        "conversion",
        "simple",
        "level",
        "type_params",
        "lineno",
        "decorator_list",
    )
)
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}
_MARK: dict[type[ast.AST], str] = {}


class NormalForm:
    """The token sequences of a program's top-level parts, in a canonical order.

    Identifiers are numbered by first use within each part, so that renaming changes nothing;
    built-in names, methods of built-in types and keywords are kept. Constants keep their type only.
    Parts are sorted, so that reordering helpers changes nothing. A source that does not parse
    is taken line by line.
    """

    __slots__ = ("parts",)

    def __init__(self, source: str) -> None:
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError):
            self.parts = [tuple(normalise(source).split())]
        else:
            self.parts = sorted(_tokens(node) for node in body if not _docstring(node))

    @property
    def digest(self) -> str:
        """Hash of the exact structure (16 hex digits)."""
        text = "\n".join(" ".join(part) for part in self.parts)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def shingles(self) -> set[int]:
        """Hashes (32 bit) of all runs of `SHINGLE` tokens, names not told apart."""
        found: set[int] = set()
        for part in self.parts:
            tokens = ["_" if token[0] == "$" else token for token in part]
            for start in range(max(1, len(tokens) - SHINGLE + 1)):
                found.add(zlib.crc32(" ".join(tokens[start : start + SHINGLE]).encode()))
        return found


def _docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _tokens(top: ast.AST) -> tuple[str, ...]:
    """Pre-order token sequence of a syntax tree."""
    out: list[str] = []
    numbers: dict[str, str] = {}

    def named(name: str) -> str:
        return numbers.setdefault(name, f"${len(numbers)}")

    stack: list[object] = [top]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            out.append(item)
        elif isinstance(item, ast.Name):
            out.append(item.id if item.id in _KNOWN else named(item.id))
        elif isinstance(item, ast.Constant):
            out.append(type(item.value).__name__)
        elif isinstance(item, ast.AST) and not _docstring(item):
            _open(item, stack, named)
    return tuple(out)


def _open(node: ast.AST, stack: list[object], named: Callable[[str], str]) -> None:
    """Push a node's mark, children and end."""
    kind = type(node)
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(name for name in node._fields if name not in _SKIPPED)
        _MARK[kind] = kind.__name__
    children: list[object] = [_MARK[kind]]
    for name in _FIELDS[kind]:
        value = getattr(node, name, None)
        if isinstance(value, list):
            children += [named(v) if isinstance(v, str) else v for v in value]
            if value and name in ("body", "orelse", "finalbody", "handlers"):
                children.append(")")
        elif isinstance(value, ast.AST):
            children.append(value)
        elif isinstance(value, str):
            kept = (name == "attr" and value in _METHODS) or kind is ast.keyword
            # Attributes are numbered apart: renaming a parameter leaves `self.x` as it was.
            children.append(value if kept else named(f".{value}" if name == "attr" else value))
    stack += reversed(children)
