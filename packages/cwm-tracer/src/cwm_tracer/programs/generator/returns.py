"""What a function returns, at its end and early."""

from cwm_tracer.programs.generator import bools, exprs, ints
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import (
    BOOL,
    INT,
    INTMAP,
    INTS,
    INTSET,
    PAIR,
    STR,
    STRS,
    TALLY,
    TERNARY,
    Expr,
    Var,
)

EARLY = {
    INT: ("0", "-1", "1"),
    BOOL: ("True", "False"),
    STR: ('""', "'none'", "'-'"),
    INTS: ("[]",),
    STRS: ("[]",),
    TALLY: ("{}",),
    INTMAP: ("{}",),
    PAIR: ("(0, 0)",),
    INTSET: ("[]",),
}
ENTRY_KINDS = (
    (9, INT),
    (3, STR),
    (4, INTS),
    (3, PAIR),
    (1, BOOL),
    (1.2, TALLY),
    (1, INTMAP),
    (1, STRS),
    (0.7, INTSET),
)

RESULTS = (INT, STR, INTS, TALLY, BOOL, INTMAP, STRS, INTSET)


def early(b: Builder) -> bool:
    """Emit an early return of the function's kind."""
    if b.ret not in EARLY:
        return False
    b.left_early = True
    if b.ret in (INT, PAIR) and b.rng.chance(0.5):
        one = ints.atom(b)
        text = one.text if b.ret == INT else f"{one.text}, {ints.constant(b, 0, 5).text}"
        b.emit(f"return {text}")
        return True
    b.emit(f"return {b.rng.pick(EARLY[b.ret])}")
    return True


def guard(b: Builder) -> bool:
    """if c: return ... at the top of a function."""
    b.emit(f"if {bools.condition(b).text}:")
    with b.block(share=0.3):
        if not early(b):
            b.emit("return None")
    return True


def results(b: Builder, kinds: tuple[str, ...]) -> list[Var]:
    """Variables worth returning: computed ones first, the least used and newest first."""
    found = [var for var in b.vars if var.kind in kinds]
    order = sorted(range(len(found)), key=lambda i: (found[i].steady, b.read(found[i]), -i))
    return [found[i] for i in order]


def final(b: Builder) -> Expr:
    """Emit the last return and describe the result."""
    made = FINAL.get(b.ret, of_kind)(b)
    branch = len(b.lines) > 1 and b.lines[-2].startswith("    " * b.depth + "if ")
    if branch and b.lines[-1].strip() == f"return {made.text}":
        del b.lines[-2:]  # a branch that returns what the end returns
    b.emit(f"return {made.text}")
    return made


def settle(b: Builder) -> None:
    """Let an entry function return what it computed, unless an early return fixed the kind."""
    unread = [var for var in results(b, RESULTS) if not var.steady and not b.read(var)]
    if not unread or b.left_early:
        return
    if len(unread) > 1 and b.rng.chance(0.75):
        b.ret = PAIR
    elif all(var.kind != b.ret for var in unread):
        b.ret = unread[0].kind


def of_int(b: Builder) -> Expr:
    """An int: a result, or two results joined."""
    found = results(b, (INT,))
    computed = [var for var in found if not var.steady and not b.read(var)]
    if len(computed) > 1 and b.rng.chance(0.7):
        one, two = computed[:2]
        sign = b.rng.pick(("+", "+", "-"))
        reach = max(abs(v) for v in (one.lo, one.hi, two.lo, two.hi))
        return Expr(f"{one.name} {sign} {two.name}", INT, -2 * reach, 2 * reach)
    if not found or (found[0].steady and not computed) or b.rng.chance(0.12):
        b.focus = b.find((INT,))[-2:]
        other = of_other(b)
        return other if other is not None else ints.int_expr(b)
    other = of_other(b) if b.rng.chance(0.75) else None
    if other is not None and computed:
        return Expr(f"{found[0].name} + {other.text}", INT, -b.knobs.limit, b.knobs.limit)
    return ints.use(found[0])


def of_other(b: Builder) -> Expr | None:
    """An int made of an unread result of another kind."""
    unread = [
        v
        for v in results(b, (INTS, STR, STRS, TALLY, INTMAP, INTSET))
        if not v.steady and not b.read(v)
    ]
    if not unread:
        return None
    var = unread[0]
    forms = [f"len({var.name})"]
    if var.kind in (INTS, INTSET):
        forms.append(f"sum({var.name})")
    if var.kind in (TALLY, INTMAP):
        forms += [f"sum({var.name}.values())", f"max({var.name}.values(), default=0)"]
    return Expr(b.rng.pick(forms), INT, -b.knobs.limit, b.knobs.limit)


def of_pair(b: Builder) -> Expr:
    """A tuple of two or three results of any kinds."""
    found = results(b, RESULTS)
    unread = [var for var in found if not var.steady and not b.read(var)]
    texts = [shown(var) for var in (unread[:3] if len(unread) > 2 else found[:2])]
    while len(texts) < 2:
        texts.append(ints.int_expr(b, 1).text)
    return Expr(", ".join(texts), PAIR, -9, 9, 2)


def shown(var: Var) -> str:
    """A result as part of a tuple; a set in sorted order."""
    return f"sorted({var.name})" if var.kind == INTSET else var.name


def of_text(b: Builder) -> Expr:
    """A string: a result, or a formatted one."""
    found = [var for var in results(b, (STR,)) if not var.steady]
    if found and (not b.read(found[0]) or b.rng.chance(0.6)):
        return ints.use(found[0])
    unread = [v for v in results(b, (INT, STR)) if not v.steady and not b.read(v)][:2]
    if unread:
        around = b.rng.pick((":", "-", "/", "="))
        text = around.join(f"{{{var.name}}}" for var in unread)
        if len(unread) == 1:
            text = b.rng.pick(("n=", "#", "v")) + text
        return Expr(f'f"{text}"', STR, size=8)
    return of_kind(b)


def of_set(b: Builder) -> Expr:
    """A sorted list of a set's elements."""
    found = results(b, (INTSET,))
    if found:
        var = found[0]
        return Expr(f"sorted({var.name})", INTS, var.lo, var.hi, var.size)
    b.ret = INTS
    return of_kind(b)


def of_flag(b: Builder) -> Expr:
    """A condition over the results."""
    found = [var for var in results(b, (BOOL,)) if not var.steady and not b.read(var)]
    if found:
        return ints.use(found[0])
    b.focus = [var for var in b.vars if not var.steady and not b.read(var)]
    return bools.condition(b)


def of_kind(b: Builder) -> Expr:
    """A result of the function's kind, or an expression, or (lacking both) a literal."""
    found = results(b, (b.ret,))
    if found and not (found[0].steady and b.rng.chance(0.9)) and b.rng.chance(0.8):
        return ints.use(found[0])
    made = exprs.expr(b, b.ret)
    if made is not None:
        return made
    return ints.use(found[0]) if found else exprs.literal(b, b.ret)


def conditional(b: Builder) -> bool:
    """if c: return e — the last branch before the final return."""
    b.emit(f"if {bools.condition(b).text}:")
    with b.block(share=0.5):
        made = exprs.expr(b, b.ret) if b.ret in (INT, STR, INTS) else None
        if made is not None and made.prec > TERNARY:
            b.left_early = True
            b.emit(f"return {made.text}")
        elif not early(b):
            b.emit("return None")
    return True


FINAL = {INT: of_int, PAIR: of_pair, STR: of_text, INTSET: of_set, BOOL: of_flag}
