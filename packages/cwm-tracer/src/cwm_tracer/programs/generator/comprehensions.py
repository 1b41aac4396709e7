"""List, dict and set comprehensions."""

from cwm_tracer.programs.generator import bools, exprs, ints
from cwm_tracer.programs.generator.builder import Builder, shared
from cwm_tracer.programs.generator.kinds import (
    CHAR,
    INT,
    INTMAP,
    INTS,
    INTSET,
    STR,
    STRS,
    TALLY,
    TERNARY,
    Expr,
    Var,
)
from cwm_tracer.programs.generator.names import ITEMS

ITEM_OF = {INTS: INT, INTSET: INT, STR: CHAR, STRS: STR, TALLY: STR, INTMAP: INT}


def comprehension(b: Builder, kind: str) -> Expr | None:
    """A list, dict or set comprehension of the kind."""
    var = b.choose(*SOURCES[kind])
    if var is None or b.left < var.size + 6:
        return None
    source = ints.use(var).text if var.kind != INTSET else f"sorted({ints.use(var).text})"
    item = item_var(b, var)
    with b.block(share=0.7 * max(1, var.size), worst=max(1, var.size)):
        b.declare(item)
        b.focus = [item]
        body = comprehension_body(b, kind, item)
        where = f" if {bools.condition(b, 1).at(TERNARY + 1)}" if b.rng.chance(0.4) else ""
    b.taken.discard(item.name)
    if body is None or not shared(item.name, body.text + where):
        return None
    if body.text == item.name and not where:
        return None
    b.charge(0.7 * var.size + 3, var.size + 3)
    ends = "[]" if kind in (INTS, STRS) else "{}"
    text = f"{ends[0]}{body.text} for {item.name} in {source}{where}{ends[1]}"
    return Expr(text, kind, body.lo, body.hi, var.size)


def comprehension_body(b: Builder, kind: str, item: Var) -> Expr | None:
    """What a comprehension collects for each item."""
    if kind in (INTS, INTSET):
        plain = item.kind == INT and b.rng.chance(0.2)
        return ints.use(item) if plain else ints.int_expr(b, 1)
    if kind == STRS:
        return exprs.expr(b, STR)
    value = ints.int_expr(b, 1)
    return Expr(f"{item.name}: {value.text}", kind, value.lo, value.hi)


def item_var(b: Builder, var: Var) -> Var:
    """A fresh name for the items of a collection, with their bounds."""
    kind = ITEM_OF[var.kind]
    size = 1 if kind == CHAR else 4
    bounds = (var.lo, var.hi) if var.kind in (INTS, INTSET) else (0, 9)
    name = b.name(ITEMS[kind])
    return Var(name, kind, *bounds, size=size, steady=True, flavour=var.flavour)


SOURCES = {
    INTS: (INTS, INTSET, STR),
    INTSET: (INTS, STR),
    STRS: (STRS, STR),
    TALLY: (STRS, STR),
    INTMAP: (INTS, INTSET),
}
