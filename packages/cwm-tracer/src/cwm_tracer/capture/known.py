"""What is kept of a value to notice that its text may have changed, without making the text anew.

Equal keys imply equal texts; taking and comparing keys runs no code of the program and costs no
more than what was shown of the value, however often it shares parts of itself.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

from collections.abc import Callable
from marshal import dumps
from operator import is_
from typing import Any

from cwm_tracer.capture.values import FLAT_IDS

_WITH_REFERENCES = 4
"""From version 3 on, `marshal` writes a shared object once: its output cannot explode."""

_FLAT = frozenset({int, bool, float, str, type(None)})
Same = Callable[[Any, Any], bool]


def key_of(value: Any, kind: type, shown: int) -> tuple[Any, Same | None]:
    """Return a key of a list, tuple or dict of builtins, and the function that compares with it.

    Args:
        value: what was rendered.
        kind: its exact class.
        shown: how many of its items were.
    """
    if kind is dict:
        return _key_of_dict(value, shown)
    items = value[:shown]
    if _FLAT.issuperset(map(type, items)):
        return (len(value), items), _same_items
    del items  # or `marshal` would see that the items are held twice
    return _key_of_nested(value, shown)


def grown(value: list[Any], old: Any) -> list[Any] | None:
    """Return what was appended to a list of atoms since its key was taken; None if it is not so."""
    size, items = old
    if not 0 < size == len(items) < len(value) or not all(map(is_, items, value)):
        return None
    tail = value[size:]
    # Classes are compared by id: unlike those of what was rendered, these may be the program's.
    return tail if FLAT_IDS.issuperset(map(id, map(type, tail))) else None


def is_items(same: Same | None) -> bool:
    """Whether a key is that of a list or tuple of atoms."""
    return same is _same_items


def grow(old: Any, tail: list[Any]) -> Any:
    """Return the key of a list of atoms to which some were appended; it takes over the old one."""
    size, items = old
    items += tail
    return size + len(tail), items


def _key_of_dict(value: dict[Any, Any], shown: int) -> tuple[Any, Same | None]:
    keys, values = list(value)[:shown], list(value.values())[:shown]
    if _FLAT.issuperset(map(type, keys)) and _FLAT.issuperset(map(type, values)):
        return (len(value), keys, values), _same_entries
    del keys, values
    return (None, None) if shown < len(value) else _key_of_nested(value, shown)


def _key_of_nested(value: Any, shown: int) -> tuple[Any, Same | None]:
    try:
        return (len(value), shown, _mark(value, shown)), _same_bytes
    except ValueError:
        return None, None


def _mark(value: Any, shown: int) -> bytes:
    """Return the bytes of what was shown; they tell, too, what is held more than once."""
    return dumps(value if shown >= len(value) else value[:shown], _WITH_REFERENCES)


def _same_items(value: Any, old: Any) -> bool:
    return len(value) == old[0] and all(map(is_, old[1], value))


def _same_entries(value: Any, old: Any) -> bool:
    return (
        len(value) == old[0]
        and all(map(is_, old[1], value))
        and all(map(is_, old[2], value.values()))
    )


def _same_bytes(value: Any, old: Any) -> bool:
    size, shown, mark = old
    if len(value) != size:
        return False
    try:
        return _mark(value, shown) == mark
    except ValueError:
        return False
