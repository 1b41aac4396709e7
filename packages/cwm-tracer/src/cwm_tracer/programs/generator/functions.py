"""Helper functions, and the ways to use a function."""

from cwm_tracer.programs.generator import (
    calls,
    comprehensions,
    inputs,
    ints,
    loops,
    returns,
    statements,
    updates,
    whiles,
)
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.draft import Draft, Phase, signature
from cwm_tracer.programs.generator.kinds import (
    BOOL,
    INT,
    INTS,
    STR,
    STRS,
    Expr,
    Func,
    Var,
)
from cwm_tracer.programs.generator.names import HELPERS

RETURNED = ((6, INT), (3, BOOL), (2, STR), (2, INTS))


def int_params(b: Builder, count: int) -> list[Var]:
    """Int parameters that nothing relies on."""
    made = []
    for _ in range(count):
        name = b.name(("x", "n", "a", "v", "k", "y", "b", "m"))
        made.append(b.declare(Var(name, INT, -b.knobs.value // 2, b.knobs.value, steady=True)))
    return made


def helper(draft: Draft) -> Phase:
    """A top-level function, and a phase that uses it."""
    b, rng = draft.builder(), draft.rng
    b.ret = rng.weighted(RETURNED)
    name = draft.name(HELPERS[b.ret])
    b.taken.add(name)
    if b.ret == INTS or (b.ret != BOOL and rng.chance(0.3)):
        kind = INTS if b.ret == INTS else rng.pick((INTS, STR))
        params = [b.declare(inputs.param(b, kind, "letters"))]
        params += int_params(b, 1) if rng.chance(0.4) else []
        for var in params:
            var.filled = False
    else:
        params = int_params(b, rng.weighted(((6, 1), (3, 2))))
        if b.ret == STR and rng.chance(0.5):
            params = [b.declare(inputs.param(b, STR, "letters")), *params]
    made = helper_body(b)
    params = [var for var in params if b.mentions(var.name)] or params[:1]
    func = Func(name, tuple(params), made, b.cost, b.worst)
    draft.define(signature(name, params), b)
    draft.funcs.append(func)
    return use(func)


def helper_body(b: Builder) -> Expr:
    """A short body: a guard, a branch or a loop, and the return."""
    rng = b.rng
    kind = rng.below(10)
    if kind < 3:
        returns.conditional(b)
    elif kind < 5:
        returns.guard(b)
    elif kind < 7 and b.find((INTS, STR)):
        loops.for_loop(b)
    elif kind == 7:
        rng.pick((whiles.digits, whiles.growth, statements.branch_value))(b)
    elif kind == 8 and b.ret in (INT, STR):
        statements.branch_value(b)
    return returns.final(b)


def use(func: Func) -> Phase:
    """A phase that calls the function: once, in a loop, or in a comprehension."""

    def phase(b: Builder) -> bool:
        kind = b.rng.below(10)
        if kind < 5 and in_loop(b, func):
            return True
        if kind < 8 and in_comprehension(b, func):
            return True
        return once(b, func)

    return phase


def once(b: Builder, func: Func) -> bool:
    """y = f(...), or a branch on a predicate."""
    made = calls.invoke(b, func) if func.worst <= b.left else None
    if made is None:
        return False
    if made.kind == BOOL and b.rng.chance(0.5):
        target = statements.changeable(b, INT) or updates.accumulator(b, INT)
        b.emit(f"if {made.text}:")
        with b.block(share=0.5):
            updates.update(b, target)
        return True
    statements.local(b, made)
    return True


def in_loop(b: Builder, func: Func) -> bool:
    """for x in xs: acc += f(x)."""
    source = {STR: STRS, BOOL: b.rng.pick((INT, INTS))}.get(func.returns.kind, INT)
    if func.returns.kind == INTS:
        source = INTS
    if b.left < 4 * (func.worst + 3):
        return False
    acc = updates.accumulator(b, source)
    head = loops.header(b, [acc])
    if head is None or b.left < head.rounds * (func.worst + 3):
        return False
    loops.open_loop(b, head)
    with b.block(share=0.75 * head.rounds, worst=head.rounds, loop=True):
        for item in head.items:
            b.declare(item)
        b.hold(head.source)
        b.focus = list(head.items)
        if b.rng.chance(0.2):
            loops.guard(b, [acc])
        made = calls.invoke(b, func)
        if made is None:
            b.emit("break")
        else:
            collect(b, acc, made)
    return True


def collect(b: Builder, acc: Var, made: Expr) -> None:
    """Put the result of a call into an accumulator."""
    kind, name = made.kind, acc.name
    if kind == BOOL:
        b.emit(f"if {made.text}:")
        with b.block(share=0.5):
            updates.update(b, acc)
    elif kind == INT:
        updates.grow(b, acc, made)
        extreme = {"best": "max", "low": "min"}.get(acc.flavour)
        text = f"= {extreme}({name}, {made.text})" if extreme else f"+= {made.text}"
        b.emit(f"{name} {text}")
    elif kind == STR:
        b.emit(f"{name}.append({made.text})")
    else:
        b.emit(b.rng.pick((f"{name}.extend({made.text})", f"{name} += {made.text}")))
    acc.size += made.size


def in_comprehension(b: Builder, func: Func) -> bool:
    """[f(x) for x in xs], [x for x in xs if f(x)], sum(f(x) for x in xs)."""
    var = b.choose(INTS, STR)
    if func.returns.kind == INTS or var is None or not var.size:
        return False
    if b.left < var.size * (func.worst + 2) + 4:
        return False
    item = comprehensions.item_var(b, var)
    with b.block(share=0.7 * var.size, worst=var.size):
        b.declare(item)
        b.focus = [item]
        made = calls.invoke(b, func)
    b.taken.discard(item.name)
    if made is None:
        return False
    b.charge(var.size + 3, var.size + 3)
    each = f"for {item.name} in {ints.use(var).text}"
    if made.kind == BOOL:
        kind = INTS if item.kind == INT else STRS
        text, made = f"[{item.name} {each} if {made.text}]", Expr("", kind, var.lo, var.hi)
    elif made.kind == INT and b.rng.chance(0.4):
        reach = made.reach * var.size
        text, made = f"sum({made.text} {each})", Expr("", INT, -reach, reach)
    else:
        kind = INTS if made.kind == INT else STRS
        text, made = f"[{made.text} {each}]", Expr("", kind, made.lo, made.hi)
    made.text, made.size = text, var.size
    statements.local(b, made)
    return True
