"""Generator functions and the loops that consume them."""

from cwm_tracer.programs.generator import bools, inputs, ints, loops, statements, updates
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.calls import invoke
from cwm_tracer.programs.generator.draft import Draft, Phase, signature
from cwm_tracer.programs.generator.kinds import INT, INTS, Expr, Func, Var
from cwm_tracer.programs.generator.names import YIELDERS


def generator(draft: Draft) -> Phase:
    """A generator function, and a phase that consumes it."""
    b, rng = draft.builder(), draft.rng
    name = draft.name(YIELDERS)
    b.taken.add(name)
    if rng.chance(0.5):
        var = Var(b.name(("xs", "nums", "items")), INTS, -9, 20, b.knobs.length + 1, steady=True)
        b.declare(var)
        func = each(b, name, var)
    else:
        var = inputs.int_param(b, count=True)
        var.strict = True
        b.declare(var)
        func = counting(b, name, var)
    draft.define(signature(name, [var]), b)
    return consume(func)


def each(b: Builder, name: str, var: Var) -> Func:
    """Yield something for (some of) the items of a list."""
    rng = b.rng
    acc = updates.accumulator(b, INT) if rng.chance(0.45) else None
    item = b.name(("x", "v", "num"))
    b.emit(f"for {item} in {var.name}:")
    b.charge(0.7 * var.size, var.size)
    with b.block(share=0.7 * var.size, worst=var.size, loop=True):
        item_var = b.declare(Var(item, INT, var.lo, var.hi, steady=True))
        b.focus = [item_var]
        if acc is not None:
            updates.update(b, acc)
            made = ints.use(acc)
        else:
            made = ints.int_expr(b, 1)
        if rng.chance(0.5) or made.text == item:
            b.emit(f"if {bools.condition(b, 1).text}:")
            with b.block(share=0.6):
                b.emit(f"yield {made.text}")
        else:
            b.emit(f"yield {made.text}")
    return finish(b, name, var, made, var.size)


def counting(b: Builder, name: str, var: Var) -> Func:
    """Yield a progression."""
    rng, rounds = b.rng, var.hi
    one, two = b.name(("a", "x", "cur")), b.name(("b", "y", "step"))
    start, step = rng.below(3), rng.between(1, 3)
    b.emit(f"{one}, {two} = {start}, {step}")
    kind = rng.below(3)
    index = b.name(("_", "i", "t"))
    b.emit(f"for {index} in range({var.name}):" if kind else f"while {one} < {var.name}:")
    b.charge(0.7 * rounds, rounds)
    with b.block(share=0.7 * rounds, worst=rounds, loop=True):
        b.emit(f"yield {one}")
        forms = (
            f"{one}, {two} = {two}, {one} + {two}",
            f"{one} += {two}",
            f"{one}, {two} = {one} + {two}, {two} + 1",
        )
        b.emit(forms[kind] if kind else f"{one} += {two}")
    return finish(b, name, var, Expr("", INT, 0, 30), rounds)


def finish(b: Builder, name: str, var: Var, made: Expr, rounds: int) -> Func:
    """Describe the generator: every item costs a resumption and a suspension."""
    returns = Expr("", INT, made.lo, made.hi, size=rounds)
    return Func(name, (var,), returns, b.cost + 1.4 * rounds, b.worst + 2 * rounds, yields=True)


def consume(func: Func) -> Phase:
    """for v in gen(...): ..., list(gen(...)), sum(gen(...))."""

    def phase(b: Builder) -> bool:
        rounds = func.returns.size
        if func.worst > b.left:
            return False
        made = invoke(b, func)
        if made is None:
            return False
        if b.rng.chance(0.35) or b.left < 4 * rounds:
            return collect(b, made)
        acc = updates.accumulator(b, b.rng.pick((INT, INT, INTS)))
        item = Var(b.name(("v", "x", "y", "val")), INT, made.lo, made.hi, steady=True)
        loops.open_loop(b, loops.Header(made.text, [item], rounds))
        with b.block(share=0.6 * rounds, worst=rounds, loop=True):
            b.declare(item)
            b.focus = [item]
            loops.round_body(b, [item], [acc], len(b.lines) - 1)
        return True

    return phase


def collect(b: Builder, made: Expr) -> bool:
    """Take all items at once."""
    rounds = made.size
    if b.rng.chance(0.5):
        statements.local(b, Expr(f"list({made.text})", INTS, made.lo, made.hi, rounds))
    elif b.rng.chance(0.6):
        reach = made.reach * rounds
        statements.local(b, Expr(f"sum({made.text})", INT, -reach, reach))
    else:
        text = f"next({made.text}, {b.rng.pick((0, -1))})"
        statements.local(b, Expr(text, INT, min(-1, made.lo), made.hi))
    return True
