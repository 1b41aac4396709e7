"""Exceptions raised, caught, and now and then not caught."""

from cwm_tracer.programs.generator import bools, calls, ints, loops, statements, updates
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.draft import Draft, Phase, signature
from cwm_tracer.programs.generator.functions import int_params
from cwm_tracer.programs.generator.kinds import (
    INT,
    INTS,
    MUL,
    TALLY,
    Expr,
    Func,
    Var,
)

MESSAGES = ("bad", "neg", "too big", "odd", "low", "stop", "no")
UNCAUGHT = 0.3


def raiser(draft: Draft) -> Phase:
    """A helper that raises for some arguments, and a phase that calls it."""
    rng, b = draft.rng, draft.builder()
    error = rng.pick(("ValueError", "ValueError", "KeyError", "IndexError"))
    if draft.knobs.difficulty > 2 and rng.chance(0.25):
        error = draft.name(("BadInput", "Empty", "Limit", "Refused"))
        draft.defs.append(f"class {error}(Exception):\n    pass")
    name = draft.name(("check", "need", "parse", "test", "limit", "take"))
    b.ret = INT
    params = int_params(b, 1)
    b.focus = params
    b.emit(f"if {bools.condition(b, 1).text}:")
    with b.block(share=0.3):
        b.emit(f"raise {error}({message(b, params[0])})")
    made = ints.int_expr(b) if rng.chance(0.7) else ints.use(params[0])
    b.emit(f"return {made.text}")
    draft.define(signature(name, params), b)
    func = Func(name, tuple(params), made, b.cost, b.worst + 1, raises=error)
    return risk(func)


def message(b: Builder, var: Var) -> str:
    """The argument of an exception."""
    text = b.rng.pick(MESSAGES)
    return f'f"{text} {{{var.name}}}"' if b.rng.chance(0.3) else repr(text)


def risk(func: Func) -> Phase:
    """Call a helper that may raise: inside a try, or (seldom) without."""

    def phase(b: Builder) -> bool:
        if func.worst + 4 > b.left:
            return False
        if b.rng.chance(UNCAUGHT):
            made = calls.invoke(b, func)
            if made is None:
                return False
            statements.local(b, made)
            return True
        acc = updates.accumulator(b, INT)
        bad = updates.accumulator(b, INT) if b.rng.chance(0.4) else None
        head = loops.header(b, [acc]) if b.rng.chance(0.75) else None
        if head is None or head.rounds * (func.worst + 7) > b.left:
            attempt(b, func, acc, bad)
            return True
        loops.open_loop(b, head)
        with b.block(share=0.75 * head.rounds, worst=head.rounds, loop=True):
            for item in head.items:
                b.declare(item)
            b.focus = list(head.items)
            attempt(b, func, acc, bad)
        return True

    return phase


def attempt(b: Builder, func: Func, acc: Var, bad: Var | None) -> None:
    """try: acc += f(x) except ...: ... [else: ...] [finally: ...]."""
    rng = b.rng
    b.emit("try:")
    with b.block():
        made = calls.invoke(b, func)
        updates.grow(b, acc, func.returns)
        b.emit(f"{acc.name} += {made.text if made else '1'}")
    named = rng.chance(0.3)
    b.emit(f"except {func.raises}{' as err' if named else ''}:")
    with b.block(share=0.35):
        handler(b, acc, bad, named)
    if rng.chance(0.15):
        b.note("else:")
        with b.block(share=0.7):
            b.emit(f"{acc.name} += 1")
    if rng.chance(0.15):
        b.note("finally:")
        with b.block():
            b.emit(f"{(bad or acc).name} += 1")


def handler(b: Builder, acc: Var, bad: Var | None, named: bool) -> None:
    """What is done about the exception."""
    if named:
        text = b.name(("why", "msg", "note"))
        b.emit(f"{text} = str(err)")
        b.emit(f"{(bad or acc).name} += len({text})")
    elif bad is not None:
        b.emit(f"{bad.name} += {b.rng.between(1, 2)}")
    else:
        b.emit(f"{acc.name} {b.rng.pick(('-=', '+='))} {b.rng.between(1, 5)}")
    if b.loops and b.rng.chance(0.25):
        b.emit(b.rng.pick(("break", "continue")))


def failing(b: Builder) -> tuple[str, str, tuple[int, int]] | None:
    """An expression that fails for some values: text, exception, bounds."""
    rng = b.rng
    var = b.choose(INTS, TALLY, INT)
    if var is None:
        return None
    name = ints.use(var).text
    if var.kind == INTS:
        index = ints.atom(b)
        text = f"{name}[{index.text}]" if rng.chance(0.6) else f"{name}[{rng.between(1, 3)}]"
        return text, "IndexError", (var.lo, var.hi)
    if var.kind == TALLY:
        key = next((v for v in b.vars if v.kind == "str"), None)
        return f"{name}[{key.name if key else repr('cat')}]", "KeyError", (var.lo, var.hi)
    by = b.choose(INT)
    if by is None or by.name == name or by.lo > 0 or by.hi < 0:
        return None
    divisor = ints.use(by).text if rng.chance(0.6) else f"({by.name} - {rng.between(1, 3)})"
    top = Expr(name, INT).at(MUL)
    sign = rng.pick(("//", "//", "%"))
    reach = max(abs(var.lo), abs(var.hi), abs(by.lo), abs(by.hi))
    return f"{top} {sign} {divisor}", "ZeroDivisionError", (-reach, reach)


def guarded(b: Builder) -> bool:
    """try: y = xs[k] except IndexError: y = 0; seldom without the try."""
    made = failing(b)
    if made is None:
        return False
    text, error, (low, high) = made
    name = b.name(("y", "val", "got", "q", "cell"))
    if b.rng.chance(UNCAUGHT):
        b.emit(f"{name} = {text}")
    else:
        b.emit("try:")
        with b.block():
            b.emit(f"{name} = {text}")
        if error in ("IndexError", "KeyError") and b.rng.chance(0.15):
            error = "LookupError"
        b.emit(f"except {error}:")
        with b.block(share=0.35):
            b.emit(f"{name} = {b.rng.pick((0, 0, -1, 1))}")
    b.declare(Var(name, INT, min(-1, low), max(1, high)))
    return True


def raising(b: Builder) -> bool:
    """if c: raise ValueError(...), at the top of a function."""
    params = [var for var in b.vars if var.kind == INT and var.steady and var.lo < 0]
    if not params or not b.rng.chance(0.3):
        return False
    var = b.rng.pick(params)
    b.emit(f"if {var.name} < {b.rng.pick((0, -1, -2))}:")
    with b.block(share=0.1):
        b.emit(f"raise ValueError({message(b, var)})")
    return True
