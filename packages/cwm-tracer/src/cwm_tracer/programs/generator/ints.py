"""Random int expressions over the variables in scope."""

from collections.abc import Callable

from cwm_tracer.programs.generator import bools, calls
from cwm_tracer.programs.generator.builder import Builder, shared
from cwm_tracer.programs.generator.kinds import (
    ADD,
    ATOM,
    CHAR,
    INT,
    INTMAP,
    INTS,
    INTSET,
    MUL,
    PAIR,
    STR,
    STRS,
    TALLY,
    TERNARY,
    UNARY,
    Expr,
    Var,
)
from cwm_tracer.programs.generator.texts import ALPHABETS

Make = Callable[[Builder, int], Expr | None]


def use(var: Var) -> Expr:
    """The variable as an expression."""
    var.uses += 1
    return Expr(var.name, var.kind, var.lo, var.hi, var.size)


def number(value: int) -> Expr:
    """An int literal."""
    return Expr(str(value), INT, value, value, prec=ATOM if value >= 0 else UNARY)


def constant(b: Builder, low: int = 1, high: int = 9) -> Expr:
    """A small int literal, small values more often."""
    top = low + int((high - low + 1) * b.rng.uniform(0.25, 1.0))
    return number(b.rng.between(low, max(low, min(top, high))))


def atom(b: Builder) -> Expr:
    """An int variable, or the size of something, or (lacking both) a literal."""
    var = b.choose(INT)
    if var is not None and abs(var.lo) <= b.knobs.limit >= abs(var.hi):
        return use(var)
    return length(b, 0) or constant(b)


def int_expr(b: Builder, depth: int | None = None) -> Expr:
    """An int expression whose absolute value aims to stay under the difficulty's limit."""
    depth = b.knobs.depth if depth is None else depth
    if depth > 0:
        for _ in range(3):
            made = b.rng.weighted(TABLES[b.knobs.difficulty])(b, depth)
            if made is not None and made.reach <= b.knobs.limit:
                return made
    return atom(b)


def operand(b: Builder, depth: int) -> Expr:
    """An operand: an atom, or a nested expression where depth allows."""
    return int_expr(b, depth - 1) if depth > 1 and b.rng.chance(0.35) else atom(b)


def plus(b: Builder, depth: int) -> Expr | None:
    """a + b or a - b."""
    left = operand(b, depth)
    right = constant(b) if b.rng.chance(0.45) else operand(b, depth)
    if left.text.isdigit() or shared(left.text, right.text):
        return None
    if b.rng.chance(0.6):
        text = f"{left.at(ADD)} + {right.at(MUL)}"
        return Expr(text, INT, left.lo + right.lo, left.hi + right.hi, prec=ADD)
    text = f"{left.at(ADD)} - {right.at(MUL)}"
    return Expr(text, INT, left.lo - right.hi, left.hi - right.lo, prec=ADD)


def corners(left: Expr, right: Expr) -> tuple[int, int]:
    """Bounds of a product."""
    ends = [x * y for x in (left.lo, left.hi) for y in (right.lo, right.hi)]
    return min(ends), max(ends)


def times(b: Builder, depth: int) -> Expr | None:
    """a * b with small results."""
    left = operand(b, depth)
    right = constant(b, 2, 3 + b.knobs.difficulty // 2) if b.rng.chance(0.7) else atom(b)
    if left.text.isdigit():
        return None
    low, high = corners(left, right)
    if right.text.isdigit() and b.rng.chance(0.4):
        left, right = right, left
    return Expr(f"{left.at(MUL)} * {right.at(UNARY)}", INT, low, high, prec=MUL)


def modulo(b: Builder, depth: int) -> Expr | None:
    """a % constant."""
    left = operand(b, depth)
    by = b.rng.pick((2, 2, 3, 3, 4, 5, 5, 7, 10))
    if left.reach < by:
        return None
    return Expr(f"{left.at(MUL)} % {by}", INT, 0, by - 1, prec=MUL)


def divide(b: Builder, depth: int) -> Expr | None:
    """a // constant."""
    left = operand(b, depth)
    by = b.rng.pick((2, 2, 2, 3, 4, 5, 10))
    if left.reach < by:
        return None
    return Expr(f"{left.at(MUL)} // {by}", INT, left.lo // by, left.hi // by, prec=MUL)


def length(b: Builder, _depth: int) -> Expr | None:
    """len(x)."""
    var = b.choose(INTS, STR, STRS, TALLY, INTMAP, INTSET)
    if var is None:
        return None
    return Expr(f"len({use(var).text})", INT, 0, var.size)


def total(b: Builder, _depth: int) -> Expr | None:
    """sum(xs) or the like."""
    var = b.choose(INTS, INTSET)
    if var is None or var in b.focus:
        return None
    reach = max(abs(var.lo), abs(var.hi)) * max(1, var.size)
    low, high = (-reach if var.lo < 0 else 0), reach
    if b.rng.chance(0.75):
        return Expr(f"sum({use(var).text})", INT, low, high)
    func = b.rng.pick(("min", "max"))
    text = f"{func}({var.name}, default={b.rng.pick((0, 0, 0, 1, -1))})"
    return Expr(text, INT, min(var.lo, -1), max(var.hi, 1))


def extreme(b: Builder, depth: int) -> Expr | None:
    """min(a, b), max(a, b)."""
    left = operand(b, depth)
    right = constant(b, 0, 9) if b.rng.chance(0.5) else operand(b, depth)
    if left.text.isdigit() or shared(left.text, right.text):
        return None
    func = b.rng.pick((min, max))
    text = f"{func.__name__}({left.text}, {right.text})"
    return Expr(text, INT, func(left.lo, right.lo), func(left.hi, right.hi))


def absolute(b: Builder, depth: int) -> Expr | None:
    """abs(x) of something that can be negative."""
    inner = int_expr(b, 1) if depth > 1 or b.rng.chance(0.6) else atom(b)
    if inner.lo >= 0:
        return None
    return Expr(f"abs({inner.text})", INT, 0, inner.reach)


def element(b: Builder, _depth: int) -> Expr | None:
    """xs[i] that is sure to exist."""
    var = b.choose(INTS)
    if var is None:
        return None
    if var.filled:
        where = b.rng.pick(("0", "-1", "0", "-1", f"len({var.name}) // 2"))
        return Expr(f"{use(var).text}[{where}]", INT, var.lo, var.hi)
    where_var = b.choose(INT) if b.rng.chance(0.35) else None
    if where_var is None:
        return None
    text = f"{use(var).text}[{use(where_var).text} % len({var.name})] if {var.name} else 0"
    return Expr(text, INT, min(0, var.lo), max(0, var.hi), prec=TERNARY)


def member(b: Builder, _depth: int) -> Expr | None:
    """An element of a pair."""
    var = b.choose(PAIR)
    return Expr(f"{use(var).text}[{b.rng.below(2)}]", INT, var.lo, var.hi) if var else None


def lookup(b: Builder, _depth: int) -> Expr | None:
    """d.get(key, 0)."""
    var = b.choose(TALLY, INTMAP)
    if var is None:
        return None
    key = b.choose(CHAR, STR) if var.kind == TALLY else b.choose(INT)
    if key is None:
        return None
    text = f"{use(var).text}.get({use(key).text}, {b.rng.pick((0, 0, 0, 1, -1))})"
    return Expr(text, INT, min(-1, var.lo), max(1, var.hi))


def occurrences(b: Builder, _depth: int) -> Expr | None:
    """s.count(c), s.find(c) or xs.count(x)."""
    var = b.choose(STR, INTS, STRS)
    if var is None:
        return None
    if var.kind == STR:
        char = b.choose(CHAR)
        if char is not None and b.rng.chance(0.6):
            text = use(char).text
        else:
            text = repr(b.rng.pick(ALPHABETS.get(var.flavour) or "abc"))
        call = b.rng.pick(("count", "count", "find"))
        return Expr(f"{use(var).text}.{call}({text})", INT, -1, var.size)
    item = b.choose(INT) if var.kind == INTS else b.choose(STR)
    if item is None:
        return None
    return Expr(f"{use(var).text}.count({use(item).text})", INT, 0, var.size)


def choice(b: Builder, depth: int) -> Expr | None:
    """a if condition else b."""
    if depth < 2 and b.rng.chance(0.5):
        return None
    condition = bools.condition(b, 1)
    yes = operand(b, depth - 1)
    no = constant(b, 0, 5) if b.rng.chance(0.5) else operand(b, depth - 1)
    if yes.text == no.text:
        return None
    text = f"{yes.at(TERNARY + 1)} if {condition.at(TERNARY + 1)} else {no.at(TERNARY)}"
    return Expr(text, INT, min(yes.lo, no.lo), max(yes.hi, no.hi), prec=TERNARY)


def ordinal(b: Builder, _depth: int) -> Expr | None:
    """The number that a character stands for."""
    var = b.choose(CHAR)
    if var is None:
        return None
    if var.flavour in ("digits", "bits"):
        return Expr(f"int({use(var).text})", INT, 0, 9)
    if var.flavour == "letters" and b.knobs.difficulty > 2:
        return Expr(f"ord({use(var).text}) - ord('a')", INT, 0, 25, prec=ADD)
    return None


def helper_call(b: Builder, _depth: int) -> Expr | None:
    """A call of a helper that returns an int."""
    return calls.call(b, INT)


PRODUCTIONS: tuple[tuple[float, int, Make], ...] = (
    (9, 1, plus),
    (2.5, 1, times),
    (1.5, 1, modulo),
    (1.2, 1, divide),
    (1.5, 2, length),
    (1.5, 2, total),
    (1.5, 1, extreme),
    (1.2, 1, absolute),
    (2, 2, element),
    (2, 3, member),
    (2, 3, lookup),
    (1, 2, occurrences),
    (0.8, 2, choice),
    (3, 2, ordinal),
    (9, 2, helper_call),
)
TABLES: dict[int, list[tuple[float, Make]]] = {
    level: [(weight, make) for weight, least, make in PRODUCTIONS if least <= level]
    for level in range(1, 6)
}
