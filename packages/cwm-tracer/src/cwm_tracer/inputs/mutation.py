"""Inputs that differ a little, in the terms of their types, from inputs that are known."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cwm_tracer.inputs.callee import Callee, anatomy
from cwm_tracer.inputs.constants import constants_of
from cwm_tracer.inputs.text import MAX_CHARACTERS, parse_call, text_of
from cwm_tracer.programs.extract import argument_text

_LETTERS = "abcxyzABZ0123456789 _-.,()[]"
_STEPS = (1, 2, 3)
"""How many changes are made to an argument list."""

Pool = Mapping[type, Sequence[Any]]
"""Constants by type; without `int` in it, nothing is put into empty lists."""


class Mutation:
    """Changes literals inside known argument lists, and exchanges arguments between them."""

    def __init__(self, count: int) -> None:
        self._count = count

    def inputs(self, callee: Callee, known: Sequence[str], seed: int) -> Iterator[str]:
        """Yield up to `count` changed argument lists; none if nothing is known."""
        calls = [call for call in map(parse_call, known) if call and (call.args or call.keywords)]
        if not calls:
            return
        rng = random.Random(seed)
        pool = _pool(callee)
        seen = set(known)
        for _ in range(self._count * 4):
            text = _changed(rng, calls, pool)
            if text is not None and text not in seen and len(text) <= MAX_CHARACTERS:
                seen.add(text)
                yield text
            if len(seen) - len(known) >= self._count:
                return


def _pool(callee: Callee) -> Pool:
    """Return the program's constants; where annotations promise other items, no integers."""
    found = {int: (0, 1), **constants_of(callee.source)}
    annotations = [each.annotation for each in anatomy(callee).parameters]
    if any(each is not None and "int" not in ast.unparse(each) for each in annotations):
        del found[int]
    return found


def _changed(rng: random.Random, calls: list[ast.Call], pool: Pool) -> str | None:
    # Younger inputs reached new ground: they are changed more often.
    call = copy.deepcopy(calls[max(rng.randrange(len(calls)), rng.randrange(len(calls)))])
    if len(calls) > 1 and rng.random() < 0.15:
        _exchange(rng, call, rng.choice(calls))
    for _ in range(rng.choice(_STEPS)):
        _change_one(rng, call, pool)
    try:
        return argument_text(call)
    except (ValueError, RecursionError):
        return None


def _exchange(rng: random.Random, call: ast.Call, other: ast.Call) -> None:
    """Take one argument from another call, at the same place."""
    common = min(len(call.args), len(other.args))
    if common:
        index = rng.randrange(common)
        call.args[index] = copy.deepcopy(other.args[index])


def _change_one(rng: random.Random, call: ast.Call, pool: Pool) -> None:
    """Change one literal; each argument has the same chance, whatever its size."""
    slots: list[tuple[Any, Any]] = [(call.args, index) for index in range(len(call.args))]
    slots += [(word, "value") for word in call.keywords]
    holder, key = rng.choice(slots)
    while True:
        node = holder[key] if isinstance(holder, list) else getattr(holder, key)
        inner = _inner(node)
        if not inner or (type(node) in _CONTAINERS and rng.random() < 0.5):
            break
        holder, key = rng.choice(inner)
    changed = _mutated(rng, node, pool)
    if isinstance(holder, list):
        holder[key] = changed
    else:
        setattr(holder, key, changed)


def _inner(node: ast.expr) -> list[tuple[Any, Any]]:
    """Return the places inside an expression whose values may be changed."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [(node.elts, index) for index in range(len(node.elts))]
    if isinstance(node, ast.Dict):
        return [(each, index) for each in (node.keys, node.values) for index in range(len(each))]
    if isinstance(node, ast.Call):
        places: list[tuple[Any, Any]] = [(node.args, index) for index in range(len(node.args))]
        return places + [(word, "value") for word in node.keywords]
    if isinstance(node, ast.BinOp):
        return [(node, "left"), (node, "right")]
    return []


def _mutated(rng: random.Random, node: ast.expr, pool: Pool) -> ast.expr:
    value = literal(node)
    if type(value) in _ATOMS:
        constants = pool.get(type(value), ())
        if constants and rng.random() < 0.2:
            return literal_node(_near(rng, rng.choice(constants)))
        return literal_node(_ATOMS[type(value)](rng, value))
    if isinstance(node, ast.List | ast.Tuple) and not node.elts and int not in pool:
        return node
    change = _CONTAINERS.get(type(node))
    return change(rng, node) if change else node


def literal(node: ast.expr) -> Any:
    """Return the value of a number, text or truth value; None for any other expression."""
    try:
        value = ast.literal_eval(node) if isinstance(node, ast.Constant | ast.UnaryOp) else None
    except (ValueError, TypeError):
        return None
    return value


def literal_node(value: Any) -> ast.expr:
    """Return the expression of a number, text or truth value."""
    return ast.parse(text_of(value), mode="eval").body


def _near(rng: random.Random, value: Any) -> Any:
    """Return a constant of the program or one of its neighbours."""
    return value + rng.choice((-1, 0, 0, 1)) if type(value) is int else value


def _int(rng: random.Random, value: int) -> int:
    return rng.choice(
        (
            *(value + 1, value - 1, -value, 0, 1, value * 2, value // 2, value + 10),
            *(rng.randint(-10, 10), rng.randint(0, 100), rng.randint(-1000, 1000)),
        )
    )


def _float(rng: random.Random, value: float) -> float:
    near = (value + 1.0, value - 1.0, -value, 0.0, value * 2, value / 2, float(round(value, 1)))
    return rng.choice((*near, round(rng.uniform(-10, 10), 2)))


def _str(rng: random.Random, value: str) -> str:
    at, other = rng.randint(0, len(value)), rng.randint(0, len(value))
    low, high = min(at, other), max(at, other)
    letter = rng.choice(value + _LETTERS)
    return rng.choice(
        (
            *(value[:at] + letter + value[at:], value[:at] + letter + value[at + 1 :]),
            *(value[:at] + value[at + 1 :], value[:low] + value[high:], value[low:high]),
            *(value[:high] + value[low:high] + value[high:], value[::-1], value.swapcase()),
            *("", value + value[::-1], "".join(rng.sample(value, len(value))), value.upper()),
        )
    )


def _bytes(rng: random.Random, value: bytes) -> bytes:
    at = rng.randint(0, len(value))
    return rng.choice((value[:at], value + value, value[::-1], b"", value + bytes([at % 256])))


def _bool(rng: random.Random, value: bool) -> bool:
    return not value


_ATOMS: dict[type, Callable[[random.Random, Any], Any]] = {
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    bool: _bool,
}


def _sequence(rng: random.Random, node: ast.List | ast.Tuple | ast.Set) -> ast.expr:
    items = [copy.deepcopy(item) for item in node.elts]
    if not items:
        return type(node)(elts=[literal_node(rng.randint(-3, 9))], **_context(node))
    at, other = rng.randrange(len(items)), rng.randrange(len(items))
    swapped = [*items]
    swapped[at], swapped[other] = items[other], items[at]
    choices: list[list[ast.expr]] = [
        *(items[:at] + items[at + 1 :], [*items, items[at]], [items[at], *items], items[::-1]),
        *(items + items, items[: at + 1], items[at:], swapped, rng.sample(items, len(items))),
        *([], sorted(items, key=_order), sorted(items, key=_order, reverse=True)),
    ]
    chosen = [copy.deepcopy(item) for item in rng.choice(choices)]
    if isinstance(node, ast.Set) and not chosen:
        return ast.parse("set()", mode="eval").body
    return type(node)(elts=chosen, **_context(node))


def _context(node: ast.expr) -> dict[str, Any]:
    return {} if isinstance(node, ast.Set) else {"ctx": ast.Load()}


def _order(node: ast.expr) -> tuple[bool, int | float, str]:
    """Order numbers by value, everything else by its text."""
    value = literal(node)
    number = isinstance(value, int | float)
    return not number, value if number else 0, "" if number else ast.unparse(node)


def _dict(rng: random.Random, node: ast.Dict) -> ast.expr:
    items = list(zip(node.keys, node.values, strict=True))
    if not items:
        return node
    at = rng.randrange(len(items))
    choices: list[list[tuple[ast.expr | None, ast.expr]]] = [
        *(items[:at] + items[at + 1 :], items[::-1], [], rng.sample(items, len(items)))
    ]
    chosen = rng.choice(choices)
    return ast.Dict([key for key, _ in chosen], [value for _, value in chosen])


_CONTAINERS: dict[type, Callable[[random.Random, Any], ast.expr]] = {
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Set: _sequence,
    ast.Dict: _dict,
}
