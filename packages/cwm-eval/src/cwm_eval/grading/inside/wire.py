"""Values as restricted text: how anything leaves an untrusted process.

JSON without classes. Numbers, strings, booleans, None and lists are themselves; every object is a
tag with one key. Encoding keeps the content of a value and forgets its class: an ``int`` subclass
with its own ``__eq__`` arrives as an exact ``int``. What is no plain value becomes a reference,
which equals nothing. Decoding builds exact builtin types only, and never runs foreign code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

MOST_DEPTH = 100
"""Containers inside one another; deeper values are refused."""
MOST_BYTES = 16 * 2**20
"""Size of an encoded value."""
_PLAIN_INT = 2**63


class WireError(ValueError):
    """A value that cannot be said, or text that says none."""


class Reference:
    """An object that stays where it is; equal to nothing."""

    __slots__ = ("kind", "number")

    def __init__(self, number: int, kind: str) -> None:
        self.number = number
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


Keep = Callable[[Any], dict[str, Any]]


def _refuse(value: Any) -> dict[str, Any]:
    raise WireError(f"a {type(value).__name__} is no plain value")


def dumps(value: Any, keep: Keep = _refuse) -> bytes:
    """Return the text of a value; `keep` turns what is no plain value into a reference's tag.

    Raises `WireError` for values that are too deep or too large, and from `keep`.
    """
    data = json.dumps(pack(value, keep), separators=(",", ":")).encode()
    if len(data) > MOST_BYTES:
        raise WireError(f"a value of {len(data)} bytes")
    return data


def loads(data: bytes, reference: Callable[[int, str], Any] = Reference) -> Any:
    """Return the value that a text says, built of exact builtin types.

    `reference` makes what stands for an object on the other side. Raises `WireError`.
    """
    if len(data) > MOST_BYTES:
        raise WireError(f"a value of {len(data)} bytes")
    try:
        return unpack(json.loads(data), reference)
    except (ValueError, TypeError, LookupError, RecursionError, ArithmeticError) as error:
        raise WireError(f"no value: {error}") from None


def pack(value: Any, keep: Keep = _refuse, depth: int = 0) -> Any:
    """Return JSON data for a value."""
    if value is None or value is True or value is False:
        return value
    if depth > MOST_DEPTH:
        raise WireError(f"a value deeper than {MOST_DEPTH} containers")
    for kind, packed in _PACKERS:
        if isinstance(value, kind):
            return packed(value, keep, depth + 1)
    return keep(value)


# Contents are read with the methods of the builtin class, never with those of a subclass.


def _pack_int(value: Any, keep: Keep, depth: int) -> Any:
    plain = int.__add__(value, 0)
    return plain if -_PLAIN_INT <= plain < _PLAIN_INT else {"i": hex(plain)}


def _pack_float(value: Any, keep: Keep, depth: int) -> Any:
    plain = float.__add__(value, -0.0)  # keeps the sign of zero
    return plain if math.isfinite(plain) else {"f": repr(plain)}


def _pack_items(tag: str, iterate: Callable[[Any], Any]) -> Callable[[Any, Keep, int], Any]:
    def packed(value: Any, keep: Keep, depth: int) -> Any:
        items = [pack(item, keep, depth) for item in iterate(value)]
        return items if not tag else {tag: items}

    return packed


def _pack_dict(value: Any, keep: Keep, depth: int) -> Any:
    items = dict.items(value)
    return {"d": [[pack(k, keep, depth), pack(v, keep, depth)] for k, v in items]}


def _pack_type(value: Any, keep: Keep) -> Any:
    name = next((name for name, kind in _TYPES.items() if kind is value), None)
    return keep(value) if name is None else {"y": name}


_TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (int, str, float, bool, list, tuple, dict, set, frozenset, bytes, complex, object)
}
_PACKERS: tuple[tuple[type, Callable[[Any, Keep, int], Any]], ...] = (
    (int, _pack_int),
    (str, lambda value, keep, depth: str.__str__(value)),
    (float, _pack_float),
    (list, _pack_items("", list.__iter__)),
    (tuple, _pack_items("t", tuple.__iter__)),
    (dict, _pack_dict),
    (set, _pack_items("s", set.__iter__)),
    (frozenset, _pack_items("z", frozenset.__iter__)),
    (bytes, lambda value, keep, depth: {"b": bytes.hex(value)}),
    (bytearray, lambda value, keep, depth: {"a": bytearray.hex(value)}),
    (complex, lambda value, keep, depth: {"c": [_part(value.real), _part(value.imag)]}),
    (Decimal, lambda value, keep, depth: {"m": Decimal.__str__(value)}),
    (Fraction, lambda value, keep, depth: {"q": Fraction.__str__(value)}),
    (type, lambda value, keep, depth: _pack_type(value, keep)),
    (Reference, lambda value, keep, depth: {"r": [value.number, value.kind]}),
)


def _part(number: float) -> str:
    return float.__repr__(number)


def unpack(data: Any, reference: Callable[[int, str], Any], depth: int = 0) -> Any:
    """Return the value of JSON data; raises `WireError` and what constructors raise."""
    if depth > MOST_DEPTH + 1:
        raise WireError("too deep")
    if isinstance(data, list):
        return [unpack(item, reference, depth + 1) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1:
        raise WireError("a tag has one key")
    ((tag, content),) = data.items()
    if tag in _SEQUENCES:
        return _SEQUENCES[tag](unpack(item, reference, depth + 1) for item in _list(content))
    if tag == "d":
        pairs = [unpack(pair, reference, depth + 1) for pair in _list(content)]
        return {key: value for key, value in pairs}  # noqa: C416 - wants exactly two each
    if tag == "r":
        number, kind = content
        return reference(int(number), str(kind)[:100])
    if tag not in _SCALARS:
        raise WireError(f"no tag {tag[:20]!r}")
    return _SCALARS[tag](content)


_SEQUENCES: dict[str, Callable[[Any], Any]] = {"t": tuple, "s": set, "z": frozenset}
_SCALARS: dict[str, Callable[[Any], Any]] = {
    "i": lambda text: int(text, 16),
    "f": float,
    "b": bytes.fromhex,
    "a": bytearray.fromhex,
    "c": lambda parts: complex(float(parts[0]), float(parts[1])),
    "m": Decimal,
    "y": lambda name: _TYPES[name],
    "q": Fraction,
}


def _list(content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise WireError("a container without items")
    return content
