"""Parameters of an entry function and the argument lists that programs are run on."""

from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import (
    BOOL,
    GRID,
    INT,
    INTS,
    PAIRS,
    STR,
    STRS,
    TALLY,
    Var,
)
from cwm_tracer.programs.generator.knobs import Knobs
from cwm_tracer.programs.generator.names import PARAMS, WORDS
from cwm_tracer.programs.generator.rng import Rng
from cwm_tracer.programs.generator.texts import draw_text

FLAVOURS = (
    (5, "letters"),
    (2, "mixed"),
    (2, "cased"),
    (2.5, "digits"),
    (1, "bits"),
    (1.5, "words"),
    (1, "numbers"),
    (1, "fields"),
    (1, "moves"),
    (1, "brackets"),
)


def int_param(b: Builder, count: bool = False) -> Var:
    """An int parameter; with `count` one that is small enough to loop up to."""
    knobs = b.knobs
    if count:
        name = b.name(("n", "k", "m", "limit", "size", "steps"))
        return Var(name, INT, 0, knobs.length + (knobs.difficulty > 3), steady=True)
    low = 0 if b.rng.chance(0.35) else -knobs.value // 2
    return Var(b.name(PARAMS[INT]), INT, low, knobs.value, steady=True)


def param(b: Builder, kind: str, flavour: str = "") -> Var:
    """A parameter of the kind with the difficulty's sizes."""
    knobs, rng = b.knobs, b.rng
    if kind == INT:
        return int_param(b, rng.chance(0.4))
    name = b.name(PARAMS[kind])
    if kind == BOOL:
        return Var(name, BOOL, steady=True)
    if kind == STR:
        flavour = flavour or rng.weighted(FLAVOURS)
        return Var(name, STR, size=knobs.text, steady=True, flavour=flavour)
    low = 0 if rng.chance(0.4) else -knobs.value // 2
    filled = kind == INTS and rng.chance(0.2)
    return Var(name, kind, low, knobs.value, knobs.length, filled, steady=True)


def value(rng: Rng, knobs: Knobs, var: Var, edge: bool) -> str:
    """Source text of one argument; `edge` asks for a boundary case."""
    if var.kind == INT:
        return str(int_value(rng, var, edge))
    if var.kind == BOOL:
        return rng.pick(("True", "False"))
    shortest = 1 if var.filled else 0
    size = shortest if edge else rng.between(max(shortest, 2), max(2, var.size))
    if edge and rng.chance(0.4):
        size = 1
    if var.kind == STR:
        return repr(draw_text(rng, var.flavour, size) if size else "")
    return repr(collection(rng, knobs, var, size))


def int_value(rng: Rng, var: Var, edge: bool) -> int:
    """A value within the parameter's bounds, small values more often."""
    if edge:
        return rng.pick([v for v in (0, 0, 1, -1, var.lo, var.hi) if var.lo <= v <= var.hi])
    if var.hi <= 8:
        return rng.between(max(var.lo, min(2, var.hi)), var.hi)
    if var.lo < 0 and rng.chance(0.25):
        return rng.between(var.lo, -1)
    return rng.between(1, max(1, int(var.hi * rng.uniform(0.4, 1.0))))


def collection(rng: Rng, knobs: Knobs, var: Var, size: int) -> object:
    """A list or dict argument of a given size."""
    if var.kind == INTS:
        values = [int_value(rng, Var("", INT, var.lo, var.hi), False) for _ in range(size)]
        if size > 2 and rng.chance(0.4):
            values[rng.below(size)] = values[rng.below(size)]
        return sorted(values) if var.flavour == "sorted" else values
    if var.kind == STRS:
        return [rng.pick(WORDS) for _ in range(size)]
    if var.kind == TALLY:
        return {word: rng.between(0, 9) for word in rng.some(WORDS, min(size, 4))}
    if var.kind == PAIRS:
        return [(word, rng.between(-3, 9)) for word in [rng.pick(WORDS[:8]) for _ in range(size)]]
    assert var.kind == GRID
    width = rng.between(2, 3)
    return [[rng.between(0, 9) for _ in range(width)] for _ in range(min(size, 3))]


def argument_lists(rng: Rng, knobs: Knobs, params: list[Var], count: int) -> tuple[str, ...]:
    """`count` different argument lists; with three or more the last is a boundary case."""
    found: list[str] = []
    for _ in range(4 * count):
        edge = len(found) >= 2 or (len(found) == 1 and rng.chance(0.3))
        focus = rng.below(len(params))
        texts = [
            value(rng, knobs, var, edge and (index == focus or rng.chance(0.3)))
            for index, var in enumerate(params)
        ]
        text = ", ".join(texts)
        if text not in found:
            found.append(text)
        if len(found) == count:
            break
    return tuple(found)
