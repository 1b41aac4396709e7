"""GitHub's expression language: ``${{ matrix.os == 'ubuntu-latest' && env.X || 'y' }}``.

Values are JSON's. Comparisons and truth follow GitHub's documentation of expressions: strings
compare without regard to case, other types as numbers; ``&&`` and ``||`` return an operand.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:0x[0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?))"
    r"|(?P<string>'(?:[^']|'')*')"
    r"|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<op>&&|\|\||==|!=|<=|>=|[<>!().,\[\]*]))"
)
_INSERTED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_CONSTANTS = {"true": True, "false": False, "null": None, "nan": math.nan, "infinity": math.inf}


class ExpressionError(DataError):
    """An expression that GitHub would refuse, or a function that is unknown."""


class Unknown:
    """A value that only a real run knows, such as an output of a step; `shell` computes it."""

    def __init__(self, shell: str = "") -> None:
        self.shell = shell


class Lookup:
    """A context whose members are computed."""

    def __init__(self, member: Callable[[str], Any]) -> None:
        self.member = member


@dataclass(slots=True)
class Scope:
    """Contexts by name, and what functions need to know."""

    contexts: Mapping[str, Any]
    root: Path = Path()
    failed: bool = False
    """What ``failure()`` says; ``success()`` says the opposite."""
    unknown: list[str] = field(default_factory=list)
    """Expressions that could not be known, in order."""


def substitute(text: str, scope: Scope) -> Any:
    """Replace every ``${{ }}`` of a text; one that is the whole text keeps its type.

    Values that are unknown become their shell form, or nothing, and are listed in the scope.
    """
    whole = re.fullmatch(r"\s*\$\{\{(.*?)\}\}\s*", text, re.DOTALL)
    if whole and "${{" not in whole[1]:
        return _known(evaluate(whole[1], scope), whole[1], scope)
    return _INSERTED.sub(
        lambda found: as_text(_known(evaluate(found[1], scope), found[1], scope)), text
    )


def _known(value: Any, expression: str, scope: Scope) -> Any:
    if not isinstance(value, Unknown):
        return value
    scope.unknown.append(expression.strip())
    return value.shell


def condition(text: Any, scope: Scope) -> bool:
    """Return what an ``if`` says; without a status function it also asks for success."""
    if isinstance(text, bool):
        return text and not scope.failed
    expression = str(text).strip()
    found = re.fullmatch(r"\$\{\{(.*)\}\}", expression, re.DOTALL)
    expression = found[1] if found else expression
    if not expression.strip():
        return not scope.failed
    value = evaluate(expression, scope)
    if isinstance(value, Unknown):
        scope.unknown.append(expression.strip())
        return False
    asks = re.search(r"\b(success|failure|always|cancelled)\s*\(", expression)
    return truth(value) and (bool(asks) or not scope.failed)


def evaluate(expression: str, scope: Scope) -> Any:
    """Return the value of an expression; ExpressionError says where it is wrong."""
    parser = _Parser(_tokens(expression), scope, expression)
    value = parser.either()
    parser.expect_end()
    return value


def truth(value: Any) -> bool:
    """Whether a value counts as true: not false, 0, -0, NaN, "" or null."""
    return not (value in (False, 0, "", None) or (isinstance(value, float) and math.isnan(value)))


def as_text(value: Any) -> str:
    """Return a value as GitHub inserts it into text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping):
        return "Object"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "Array"
    return str(value)


def as_number(value: Any) -> float:
    """Return a value as a number, NaN where it is none."""
    if value is None or value == "":
        return 0.0
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return float(int(value, 16)) if str(value).startswith("0x") else float(value)
    except (TypeError, ValueError):
        return math.nan


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, place = [], 0
    text = expression.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ExpressionError(f"cannot read the expression {expression.strip()!r} at {place}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        place = match.end()
    return found


class _Parser:
    """Recursive descent over tokens; evaluates while it reads."""

    def __init__(self, tokens: list[tuple[str, str]], scope: Scope, text: str) -> None:
        self._tokens, self._scope, self._text = tokens, scope, text.strip()
        self._place = 0

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "")

    def _take(self, *ops: str) -> str | None:
        kind, text = self._next()
        if kind == "op" and text in ops:
            self._place += 1
            return text
        return None

    def _need(self, op: str) -> None:
        if self._take(op) is None:
            raise self._error(f"expected {op!r}")

    def _error(self, message: str) -> ExpressionError:
        return ExpressionError(f"in the expression {self._text!r}: {message}")

    def expect_end(self) -> None:
        if self._next()[0] != "end":
            raise self._error(f"did not expect {self._next()[1]!r}")

    def either(self) -> Any:
        value = self._both()
        while self._take("||"):
            other = self._both()
            value = value if isinstance(value, Unknown) or truth(value) else other
        return value

    def _both(self) -> Any:
        value = self._equality()
        while self._take("&&"):
            other = self._equality()
            value = other if isinstance(value, Unknown) or truth(value) else value
        return value

    def _equality(self) -> Any:
        value = self._order()
        while op := self._take("==", "!="):
            other = self._order()
            if isinstance(value, Unknown) or isinstance(other, Unknown):
                value = Unknown()
            else:
                value = _equal(value, other) is (op == "==")
        return value

    def _order(self) -> Any:
        value = self._negation()
        while op := self._take("<", "<=", ">", ">="):
            other = self._negation()
            if isinstance(value, Unknown) or isinstance(other, Unknown):
                value = Unknown()
            else:
                value = _ordered(op, value, other)
        return value

    def _negation(self) -> Any:
        if self._take("!"):
            value = self._negation()
            return value if isinstance(value, Unknown) else not truth(value)
        return self._access()

    def _access(self) -> Any:
        value = self._atom()
        while op := self._take(".", "["):
            if op == ".":
                if self._take("*"):
                    value = _all_of(value)
                    continue
                kind, name = self._next()
                if kind not in ("name", "number"):
                    raise self._error("expected a name after '.'")
                self._place += 1
                value = _member(value, name)
            else:
                value = _all_of(value) if self._take("*") else _member(value, self.either())
                self._need("]")
        return value

    def _atom(self) -> Any:
        kind, text = self._next()
        self._place += 1
        if kind == "number":
            return as_number(text)
        if kind == "string":
            return text[1:-1].replace("''", "'")
        if kind == "op" and text == "(":
            value = self.either()
            self._need(")")
            return value
        if kind != "name":
            raise self._error("expected a value")
        if text.lower() in _CONSTANTS:
            return _CONSTANTS[text.lower()]
        if self._take("("):
            return self._call(text)
        return _member(self._scope.contexts, text)

    def _call(self, name: str) -> Any:
        arguments = []
        while not self._take(")"):
            arguments.append(self.either())
            if not self._take(","):
                self._need(")")
                break
        function = _FUNCTIONS.get(name.lower())
        if function is None:
            raise self._error(f"unknown function {name!r}")
        if any(isinstance(argument, Unknown) for argument in arguments):
            return Unknown()
        try:
            return function(self._scope, *arguments)
        except (TypeError, ValueError, IndexError) as error:
            raise self._error(f"{name}: {error}") from error


def _member(value: Any, key: Any) -> Any:
    """Return a member; names compare without regard to case, what is missing is null."""
    if isinstance(value, Unknown):
        return value
    if isinstance(value, Lookup):
        return value.member(as_text(key))
    if isinstance(value, _Spread):
        members = [_member(each, key) for each in value]
        return _Spread(each for each in members if each is not None)
    if isinstance(value, Mapping):
        for name, found in value.items():
            if str(name).lower() == as_text(key).lower():
                return found
        return None
    if isinstance(value, list):
        index = as_number(key)
        return value[int(index)] if index.is_integer() and 0 <= index < len(value) else None
    return None


class _Spread(list[Any]):
    """What ``.*`` gives; members of it are those of its elements."""


def _all_of(value: Any) -> Any:
    if isinstance(value, Unknown):
        return value
    if isinstance(value, Mapping):
        return _Spread(value.values())
    return _Spread(value) if isinstance(value, list) else _Spread()


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one.lower() == other.lower()
    if isinstance(one, (Mapping, list)) or isinstance(other, (Mapping, list)):
        return one is other
    if one is None and other is None:
        return True
    return as_number(one) == as_number(other)


def _ordered(op: str, one: Any, other: Any) -> bool:
    a: Any = one
    b: Any = other
    if isinstance(one, str) and isinstance(other, str):
        a, b = one.lower(), other.lower()
    else:
        a, b = as_number(one), as_number(other)
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def _contains(scope: Scope, search: Any, item: Any) -> bool:
    if isinstance(search, list):
        return any(_equal(each, item) for each in search)
    return as_text(item).lower() in as_text(search).lower()


def _format(scope: Scope, text: str, *values: Any) -> str:
    def place(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        return as_text(values[int(found[1])])

    return re.sub(r"\{\{|\}\}|\{(\d+)\}", place, text)


def _join(scope: Scope, values: Any, separator: str = ",") -> str:
    listed = values if isinstance(values, list) else [values]
    return separator.join(as_text(each) for each in listed)


def _hash_files(scope: Scope, *patterns: str) -> str:
    paths = sorted(path for path in scope.root.rglob("*") if path.is_file())
    digest, any_found = hashlib.sha256(), False
    for path in paths:
        name = str(path.relative_to(scope.root))
        wanted = [*patterns, *(pattern.replace("**/", "") for pattern in patterns)]
        if any(fnmatch.fnmatch(name, pattern) for pattern in wanted):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
            any_found = True
    return digest.hexdigest() if any_found else ""


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": _contains,
    "startswith": lambda _, text, part: as_text(text).lower().startswith(as_text(part).lower()),
    "endswith": lambda _, text, part: as_text(text).lower().endswith(as_text(part).lower()),
    "format": _format,
    "join": _join,
    "tojson": lambda _, value: json.dumps(value, indent=2),
    "fromjson": lambda _, text: json.loads(text),
    "hashfiles": _hash_files,
    "success": lambda scope: not scope.failed,
    "failure": lambda scope: scope.failed,
    "always": lambda _: True,
    "cancelled": lambda _: False,
}
