"""Functions inside functions: nested ones, counters, factories and lambdas."""

from dataclasses import replace

from cwm_tracer.programs.generator import (
    bools,
    ints,
    loops,
    returns,
    statements,
    updates,
)
from cwm_tracer.programs.generator.builder import Builder, shared
from cwm_tracer.programs.generator.draft import Draft, Phase, signature
from cwm_tracer.programs.generator.functions import int_params, use
from cwm_tracer.programs.generator.kinds import (
    ATOM,
    BOOL,
    INT,
    INTS,
    SHARED,
    TERNARY,
    Expr,
    Func,
    Var,
)
from cwm_tracer.programs.generator.names import INNER


def inner_builder(b: Builder) -> Builder:
    """A builder for a function nested in the one being written; it sees the outer ints."""
    inner = Builder(b.rng, b.knobs, b.depth + 1)
    inner.taken, inner.funcs = b.taken, []
    outer = [var for var in b.vars if var.kind == INT and var.name.isidentifier()][-2:]
    inner.vars = [replace(var, steady=True) for var in outer]
    return inner


def inner_function(_draft: Draft) -> Phase:
    """A nested function that reads a variable of the outer one."""

    def phase(b: Builder) -> bool:
        inner = inner_builder(b)
        name = b.name(INNER)
        inner.ret = b.rng.pick((INT, INT, BOOL))
        params = int_params(inner, 1)
        inner.focus = [*params, *inner.vars[:1]]
        if b.rng.chance(0.5):
            returns.conditional(inner)
        made = bools.condition(inner) if inner.ret == BOOL else ints.int_expr(inner)
        inner.emit(f"return {made.text}")
        return install(b, inner, name, params, made)

    return phase


def install(b: Builder, inner: Builder, name: str, params: list[Var], made: Expr) -> bool:
    """Put a nested function into the outer body and use it."""
    b.emit(signature(name, params))
    b.lines += inner.lines
    func = Func(name, tuple(params), made, inner.cost, inner.worst)
    b.funcs.append(func)
    for var in params:
        b.taken.discard(var.name)
    return use(func)(b)


def counter(_draft: Draft) -> Phase:
    """A nested function that changes a variable of the outer one."""

    def phase(b: Builder) -> bool:
        target = updates.accumulator(b, INT)
        name = b.name(INNER)
        inner = inner_builder(b)
        inner.vars = [*inner.vars[:-1], target]
        params = int_params(inner, 1)
        inner.focus = params
        inner.emit(f"nonlocal {target.name}")
        inner.cost -= 1
        inner.worst -= 1
        target.mult = 0.2
        if b.rng.chance(0.5):
            loops.conditional(inner, target)
        else:
            updates.update(inner, target)
        inner.emit(f"return {target.name}")
        target.mult = b.worst_mult
        target.flavour = SHARED
        return install(b, inner, name, params, Expr("", INT, target.lo, target.hi))

    return phase


def factory(draft: Draft) -> Phase:
    """A function that makes functions, and a phase that uses one of them."""
    b = draft.builder()
    name = draft.name(("make", "maker", "adder", "scaler", "picker"))
    outer = int_params(b, 1)
    inner = inner_builder(b)
    params = int_params(inner, 1)
    inner.focus = [*params, *outer]
    inner.ret = INT
    made = ints.int_expr(inner)
    if not shared(outer[0].name, made.text) or not shared(params[0].name, made.text):
        text = f"{params[0].name} {b.rng.pick(('+', '-'))} {outer[0].name}"
        made = Expr(text, INT, -3 * b.knobs.value, 3 * b.knobs.value, prec=TERNARY)
    inner.emit(f"return {made.text}")
    inner_name = b.name(INNER)
    b.emit(signature(inner_name, params))
    b.lines += inner.lines
    b.emit(f"return {inner_name}")
    draft.define(signature(name, outer), b)

    def phase(entry: Builder) -> bool:
        bound = entry.name(("f", "g", "fn", "op"))
        value = ints.constant(entry) if entry.rng.chance(0.6) else ints.atom(entry)
        entry.emit(f"{bound} = {name}({value.text})")
        entry.charge(4, 4)
        func = Func(bound, tuple(params), made, inner.cost, inner.worst)
        entry.funcs.append(func)
        return use(func)(entry)

    return phase


def anonymous(_draft: Draft) -> Phase:
    """f = lambda x: ..., used like a helper; or a lambda given to sorted, map, filter, max."""

    def phase(b: Builder) -> bool:
        inner = inner_builder(b)
        params = int_params(inner, 1)
        inner.focus = params
        test = b.rng.chance(0.3)
        made = bools.condition(inner, 1) if test else ints.int_expr(inner, 1)
        for var in params:
            b.taken.discard(var.name)
        if not shared(params[0].name, made.text) or made.text.isidentifier():
            text = f"{params[0].name} {b.rng.pick(('+', '-', '*'))} {b.rng.between(2, 3)}"
            made = Expr(text, INT, -b.knobs.value, b.knobs.value)
        text = f"lambda {params[0].name}: {made.text}"
        source = b.choose(INTS)
        if source is not None and source.size and b.rng.chance(0.6):
            b.charge(3 * source.size, 3 * source.size)
            return inline(b, source, text, made)
        name = b.name(("f", "g", "fn", "op"))
        b.emit(f"{name} = {text}")
        func = Func(name, tuple(params), Expr("", made.kind, made.lo, made.hi, prec=ATOM), 3, 3)
        b.funcs.append(func)
        return use(func)(b)

    return phase


def inline(b: Builder, source: Var, text: str, made: Expr) -> bool:
    """The lambda as an argument of a built-in."""
    name = ints.use(source).text
    low, high = source.lo, source.hi
    if made.kind == BOOL:
        result = Expr(f"list(filter({text}, {name}))", INTS, low, high, source.size)
    elif b.rng.chance(0.45):
        result = Expr(f"sorted({name}, key={text})", INTS, low, high, source.size)
    elif b.rng.chance(0.3):
        call = b.rng.pick(("max", "min"))
        result = Expr(f"{call}({name}, key={text}, default=0)", INT, min(0, low), max(0, high))
    else:
        result = Expr(f"list(map({text}, {name}))", INTS, made.lo, made.hi, source.size)
    statements.local(b, result)
    return True
