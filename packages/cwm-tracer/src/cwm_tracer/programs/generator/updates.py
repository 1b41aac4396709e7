"""Accumulators: how they start and how a step changes them."""

from cwm_tracer.programs.generator import bools, exprs, ints
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import (
    ADD,
    BOOL,
    CHAR,
    INT,
    INTMAP,
    INTS,
    INTSET,
    MUL,
    STR,
    STRS,
    TALLY,
    Expr,
    Var,
)
from cwm_tracer.programs.generator.names import ACCS, BEST

STARTS = {STR: '""', INTS: "[]", STRS: "[]", TALLY: "{}", INTMAP: "{}", INTSET: "set()"}


def accumulator(b: Builder, kind: str) -> Var:
    """Declare and initialise an accumulator."""
    if kind == INT and b.rng.chance(0.22):
        return best(b)
    var = Var(b.name(ACCS[kind]), kind)
    if kind == INT:
        start = b.rng.pick((0, 0, 0, 0, 1, 1, 2, 5, 10))
        if var.name in ("count", "cnt", "total"):
            start = 0
        var.lo = var.hi = start
        b.emit(f"{var.name} = {start}")
    elif kind == BOOL:
        b.emit(f"{var.name} = {b.rng.pick(('True', 'False'))}")
    else:
        b.emit(f"{var.name} = {STARTS[kind]}")
    return b.declare(var)


def best(b: Builder) -> Var:
    """An accumulator that keeps an extreme."""
    down = b.rng.chance(0.35)
    name = b.name(("low", "least", "best") if down else BEST[:3])
    start = b.rng.pick((20, 50, 99) if down else (0, 0, -1, -9))
    b.emit(f"{name} = {start}")
    flavour = "low" if down else "best"
    return b.declare(Var(name, INT, start, start, flavour=flavour))


def update(b: Builder, acc: Var) -> None:
    """Emit one statement that changes the accumulator."""
    UPDATES[acc.kind](b, acc)


def amount(b: Builder) -> Expr:
    """What is added: mostly the item in focus or something made of it."""
    return ints.atom(b) if b.rng.chance(0.45) else ints.int_expr(b, 1)


def grow(b: Builder, acc: Var, by: Expr) -> None:
    """Widen the bounds by what all runs of the present block can add."""
    runs = max(1, int(b.worst_mult / acc.mult))
    acc.lo += min(0, by.lo) * runs
    acc.hi += max(0, by.hi) * runs


def update_int(b: Builder, acc: Var) -> None:
    """acc += e, acc = max(acc, e), ..."""
    rng, name = b.rng, acc.name
    if acc.flavour in ("best", "low"):
        update_best(b, acc)
    elif (name in ("count", "cnt") and rng.chance(0.85)) or rng.chance(0.12):
        grow(b, acc, ints.number(1))
        b.emit(f"{name} {rng.pick(('+=', '+=', '+=', '-='))} 1")
    else:
        by = amount(b)
        if by.text == name or by.reach * b.worst_mult / acc.mult > 3 * b.knobs.limit:
            by = ints.constant(b)
        b.emit(f"{name} {combined(b, acc, by)}")


def combined(b: Builder, acc: Var, by: Expr) -> str:
    """The right part of an update by an amount: `+= e`, `= max(acc, e)`, `= (acc + e) % 7`."""
    rng, name, kind = b.rng, acc.name, b.rng.below(12)
    if kind < 6:
        grow(b, acc, by)
        return f"+= {by.text}"
    if kind < 8:
        grow(b, acc, Expr("", INT, -by.hi, -by.lo))
        return f"-= {by.text}"
    if kind == 8:
        grow(b, acc, by)
        return f"= max({name}, {by.text})"
    modulus = rng.pick((5, 7, 10, 11, 13))
    acc.lo, acc.hi = min(acc.lo, 0), max(acc.hi, modulus - 1)
    factor = f" * {rng.between(2, 3)}" if kind == 9 else ""
    return f"= ({name}{factor} + {by.at(MUL)}) % {modulus}"


def update_best(b: Builder, acc: Var) -> None:
    """best = max(best, e), or the same with an if."""
    by = amount(b)
    if by.text == acc.name or by.text.isdigit():
        by = ints.length(b, 0) or ints.constant(b)
    down = acc.flavour == "low"
    acc.lo, acc.hi = min(acc.lo, by.lo), max(acc.hi, by.hi)
    if b.rng.chance(0.5):
        b.emit(f"{acc.name} = {'min' if down else 'max'}({acc.name}, {by.text})")
        return
    b.emit(f"if {by.at(ADD)} {'<' if down else '>'} {acc.name}:")
    with b.block(share=0.5):
        b.emit(f"{acc.name} = {by.text}")


def update_text(b: Builder, acc: Var) -> None:
    """out += ch, out = ch + out, ..."""
    piece = b.choose(CHAR, STR)
    if piece is None or piece is acc:
        number = b.choose(INT)
        text = f"str({ints.use(number).text})" if number else repr(b.rng.pick("ab-"))
        size = 3
    else:
        text, size = ints.use(piece).text, piece.size
        if b.rng.chance(0.35):
            text += b.rng.pick((".upper()", " * 2", ' + "-"', "[::-1]" if size > 1 else ".upper()"))
            size *= 2
    acc.size += int(size * b.worst_mult / acc.mult)
    front = text.isidentifier() and b.rng.chance(0.25)
    b.emit(f"{acc.name} = {text} + {acc.name}" if front else f"{acc.name} += {text}")


def update_list(b: Builder, acc: Var) -> None:
    """out.append(e) and other ways to add."""
    by = amount(b)
    acc.lo, acc.hi = min(acc.lo, by.lo), max(acc.hi, by.hi)
    acc.size += int(b.worst_mult / acc.mult)
    forms = (
        f".append({by.text})",
        f".append({by.text})",
        f".append({by.text})",
        f".append({by.text})",
        f".insert(0, {by.text})",
        f" += [{by.text}]",
    )
    b.emit(acc.name + b.rng.pick(forms))


def update_texts(b: Builder, acc: Var) -> None:
    """out.append(text)."""
    made = exprs.expr(b, STR)
    acc.size += int(b.worst_mult / acc.mult)
    b.emit(f"{acc.name}.append({made.text if made else repr('x')})")


def update_dict(b: Builder, acc: Var) -> None:
    """d[k] = d.get(k, 0) + e."""
    key_var = b.choose(STR, CHAR) if acc.kind == TALLY else b.choose(INT)
    if key_var is None or key_var.name == acc.name:
        key = "'all'" if acc.kind == TALLY else "0"
    elif acc.kind == INTMAP and b.rng.chance(0.4):
        key = f"{ints.use(key_var).text} % {b.rng.between(2, 4)}"
    else:
        key = ints.use(key_var).text
    by = ints.number(1) if b.rng.chance(0.5) else amount(b)
    acc.size += int(b.worst_mult / acc.mult)
    grow(b, acc, by)
    counts = b.rng.chance(0.7)
    text = f"{acc.name}.get({key}, 0) + {by.at(MUL)}" if counts else by.text
    b.emit(f"{acc.name}[{key}] = {text}")


def update_set(b: Builder, acc: Var) -> None:
    """seen.add(x)."""
    by = amount(b)
    acc.lo, acc.hi = min(acc.lo, by.lo), max(acc.hi, by.hi)
    acc.size += int(b.worst_mult / acc.mult)
    b.emit(f"{acc.name}.{b.rng.pick(('add', 'add', 'add', 'discard'))}({by.text})")


def update_flag(b: Builder, acc: Var) -> None:
    """ok = not ok, ok = condition."""
    text = f"not {acc.name}" if b.rng.chance(0.3) else bools.condition(b, 1).text
    if text == acc.name:
        text = b.rng.pick(("True", "False"))
    b.emit(f"{acc.name} = {text}")


UPDATES = {
    INT: update_int,
    STR: update_text,
    INTS: update_list,
    STRS: update_texts,
    TALLY: update_dict,
    INTMAP: update_dict,
    INTSET: update_set,
    BOOL: update_flag,
}
