"""Straight-line statements and branches."""

from cwm_tracer.programs.generator import bools, exprs, ints, updates
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import (
    BOOL,
    CHAR,
    INT,
    INTMAP,
    INTS,
    INTSET,
    PAIR,
    STR,
    STRS,
    TALLY,
    Expr,
    Var,
)
from cwm_tracer.programs.generator.names import LOCALS

ASSIGNED = (
    (10, INT),
    (3, STR),
    (4, INTS),
    (1, BOOL),
    (1, TALLY),
    (1, INTMAP),
    (1, INTSET),
    (1.5, STRS),
    (1, PAIR),
)


def local(b: Builder, made: Expr) -> Var:
    """Bind an expression to a new name."""
    var = Var(b.name(LOCALS[made.kind]), made.kind, made.lo, made.hi, made.size)
    b.emit(f"{var.name} = {made.text}")
    return b.declare(var)


def assign(b: Builder) -> bool:
    """y = expression of a random kind."""
    kind = INT if b.knobs.difficulty == 1 else b.rng.weighted(ASSIGNED)
    if kind == PAIR:
        return pair(b)
    made = exprs.expr(b, kind)
    if made is None or made.text.isidentifier():
        return False
    local(b, made)
    return True


def pair(b: Builder) -> bool:
    """p = (a, b)."""
    one, two = ints.int_expr(b, 1), ints.int_expr(b, 1)
    if one.text == two.text or one.text.isdigit():
        return False
    low, high = min(one.lo, two.lo), max(one.hi, two.hi)
    local(b, Expr(f"({one.text}, {two.text})", PAIR, low, high, 2))
    return True


def changeable(b: Builder, *kinds: str) -> Var | None:
    """A variable that may be assigned again."""
    found = [v for v in b.vars if v.kind in kinds and not v.steady and v not in b.held]
    return b.rng.pick(found) if found else None


def reassign(b: Builder) -> bool:
    """x += e, x = e for an int variable (parameters included, if nothing relies on them)."""
    var = changeable(b, INT)
    if var is None:
        return False
    updates.update(b, var)
    return True


def swap(b: Builder) -> bool:
    """a, b = b, a + b."""
    found = [var for var in b.vars if var.kind == INT and not var.steady]
    if len(found) < 2:
        return False
    one, two = b.rng.some(found, 2)
    right = f"{two.name}, {one.name}"
    if b.rng.chance(0.5) and max(one.hi, two.hi) < b.knobs.limit:
        right = f"{two.name}, {one.name} + {two.name}"
        low, high = one.lo + two.lo, one.hi + two.hi
    else:
        low, high = one.lo, one.hi
    b.emit(f"{one.name}, {two.name} = {right}")
    one.lo, one.hi = min(one.lo, two.lo), max(one.hi, two.hi)
    two.lo, two.hi = min(two.lo, low), max(two.hi, high)
    return True


def unpack(b: Builder) -> bool:
    """q, r = divmod(n, k); lo, hi = min(..), max(..); first, *rest = xs."""
    source = b.choose(INTS)
    if source is not None and source.filled and b.rng.chance(0.7):
        low, high = b.name(("lo", "first", "head")), b.name(("hi", "last", "end"))
        right = b.rng.pick(
            (f"{source.name}[0], {source.name}[-1]", f"min({source.name}), max({source.name})")
        )
        b.emit(f"{low}, {high} = {right}")
    elif source is not None and source.filled:
        head, rest = b.name(("first", "head", "x")), b.name(("rest", "tail"))
        b.emit(f"{head}, *{rest} = {source.name}")
        b.declare(Var(head, INT, source.lo, source.hi))
        b.declare(Var(rest, INTS, source.lo, source.hi, max(0, source.size - 1)))
        source.uses += 1
        return True
    else:
        value = ints.atom(b)
        if value.text.isdigit():
            return False
        low, high = b.name(("q", "d", "tens")), b.name(("r", "rest", "ones"))
        by = b.rng.pick((2, 3, 4, 5, 10))
        b.emit(f"{low}, {high} = divmod({value.text}, {by})")
        b.declare(Var(low, INT, value.lo // by, value.hi // by))
        b.declare(Var(high, INT, 0, by - 1))
        return True
    for name in (low, high):
        b.declare(Var(name, INT, source.lo, source.hi))
    source.uses += 1
    return True


def both_values(b: Builder) -> bool:
    """a, b = e1, e2."""
    one, two = ints.int_expr(b, 1), ints.int_expr(b, 1)
    if one.text == two.text or one.text.isdigit():
        return False
    names = [b.name(LOCALS[INT]) for _ in range(2)]
    b.emit(f"{names[0]}, {names[1]} = {one.text}, {two.text}")
    b.declare(Var(names[0], INT, one.lo, one.hi))
    b.declare(Var(names[1], INT, two.lo, two.hi))
    return True


def branch_value(b: Builder) -> bool:
    """if c: y = e1 elif c2: y = e2 else: y = e3."""
    kind = INT if b.knobs.difficulty == 1 or b.rng.chance(0.75) else STR
    name = b.name(LOCALS[kind])
    arms: list[Expr] = []
    count = 3 if b.rng.chance(0.3) else 2
    for index in range(count):
        word = ("if", "elif")[index > 0]
        if index == count - 1:
            b.note("else:")
        else:
            b.emit(f"{word} {bools.condition(b).text}:")
        with b.block(share=1 / count, worst=1.0):
            made = arm(b, kind, [e.text for e in arms])
            b.emit(f"{name} = {made.text}")
        arms.append(made)
    b.worst -= (count - 1) * b.worst_mult
    low, high = min(e.lo for e in arms), max(e.hi for e in arms)
    b.declare(Var(name, kind, low, high, max(e.size for e in arms)))
    return True


def arm(b: Builder, kind: str, used: list[str]) -> Expr:
    """An expression for one arm of a branch that differs from the other arms'."""
    for _ in range(4):
        if kind == STR:
            labels = b.rng.chance(0.6)
            made = exprs.expr(b, STR) if not labels else None
            made = made or Expr(repr(b.rng.pick(exprs.LABELS)), STR, size=4)
        else:
            made = ints.int_expr(b)
        if made.text not in used:
            return made
    return exprs.literal(b, kind)


def branch_update(b: Builder) -> bool:
    """if c: change x [else: change it otherwise]."""
    var = changeable(b, INT, INTS, STR, INTSET, TALLY, INTMAP)
    if var is None:
        return False
    first = len(b.lines)
    b.emit(f"if {bools.condition(b).text}:")
    otherwise = b.rng.chance(0.45)
    with b.block(share=0.5):
        updates.update(b, var)
    if otherwise:
        second = len(b.lines)
        b.note("else:")
        with b.block(share=0.5):
            updates.update(b, var)
        b.drop_twin(first, second)
    return True


def mutate_list(b: Builder) -> bool:
    """xs.sort(), xs.append(e), xs[0] = e, del xs[0], ..."""
    found = [var for var in b.vars if var.kind == INTS and not var.steady]
    if not found:
        return False
    var = b.rng.pick(found)
    item = ints.int_expr(b, 1).text
    forms = (
        "sort()",
        "reverse()",
        f"append({item})",
        "sort(reverse=True)",
        f"extend([{item}, {b.rng.between(1, 9)}])",
    )
    b.emit(f"{var.name}.{b.rng.pick(forms)}")
    var.size += 1
    return True


def pop_guarded(b: Builder) -> bool:
    """if xs: x = xs.pop()."""
    found = [var for var in b.vars if var.kind == INTS and not var.steady]
    target = changeable(b, INT)
    if not found or target is None:
        return False
    var = b.rng.pick(found)
    test = var.name if b.rng.chance(0.6) else f"len({var.name}) > {b.rng.between(1, 2)}"
    b.emit(f"if {test}:")
    with b.block(share=0.7):
        end = b.rng.pick(("", "0", ""))
        b.emit(f"{target.name} {b.rng.pick(('+=', '-='))} {var.name}.pop({end})")
    target.lo, target.hi = target.lo + min(0, var.lo), target.hi + max(0, var.hi)
    return True


def letter(b: Builder) -> bool:
    """c = s[0] if s else 'x'."""
    var = b.choose(STR)
    if var is None:
        return False
    name = b.name(LOCALS[CHAR])
    where = b.rng.pick(("0", "-1"))
    b.emit(f"{name} = {ints.use(var).text}[{where}] if {var.name} else {b.rng.pick('ax-')!r}")
    b.declare(Var(name, CHAR, size=1, flavour=var.flavour))
    return True
