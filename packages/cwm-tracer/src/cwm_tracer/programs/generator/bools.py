"""Random conditions over the variables in scope."""

from collections.abc import Callable

from cwm_tracer.programs.generator import calls, ints
from cwm_tracer.programs.generator.builder import Builder, shared
from cwm_tracer.programs.generator.kinds import (
    ADD,
    AND,
    ATOM,
    BOOL,
    CHAR,
    COMPARE,
    INT,
    INTMAP,
    INTS,
    INTSET,
    NOT,
    OR,
    SIZED,
    STR,
    STRS,
    TALLY,
    Expr,
)
from cwm_tracer.programs.generator.texts import ALPHABETS, GROUPS

Make = Callable[[Builder], Expr | None]
ORDERS = ("<", ">", "<=", ">=")


def condition(b: Builder, depth: int | None = None) -> Expr:
    """A condition that is neither always true nor always false, as far as bounds tell."""
    depth = min(b.knobs.depth, 2) if depth is None else depth
    if depth > 1 and b.rng.chance(0.18):
        joined = both(b)
        if joined is not None:
            return joined
    for _ in range(5):
        made = b.rng.weighted(TABLES[b.knobs.difficulty])(b)
        if made is not None:
            return made
    return compare_constant(b) or Expr(f"{ints.atom(b).text} > 2", BOOL, prec=COMPARE)


def both(b: Builder) -> Expr | None:
    """a and b, a or b, lo < x < hi."""
    var = b.choose(INT)
    if var is not None and var.hi - var.lo > 6 and b.rng.chance(0.3):
        low = b.rng.between(max(var.lo, -8), min(var.lo + (var.hi - var.lo) // 2, 4))
        high = low + b.rng.between(2, 6)
        left, right = b.rng.pick(("<", "<=")), b.rng.pick(("<", "<="))
        text = f"{low} {left} {ints.use(var).text} {right} {high}"
        return Expr(text, BOOL, prec=COMPARE)
    one, two = condition(b, 1), condition(b, 1)
    if shared(one.text.replace("len", ""), two.text):
        return None
    if b.rng.chance(0.5):
        return Expr(f"{one.at(AND)} and {two.at(NOT)}", BOOL, prec=AND)
    return Expr(f"{one.at(OR)} or {two.at(AND)}", BOOL, prec=OR)


def threshold(b: Builder, left: Expr) -> int | None:
    """A literal that splits the expression's range."""
    low, high = max(left.lo, -10), min(left.hi, 12 + 4 * b.knobs.difficulty)
    if low >= high:
        return None
    if low < 0 < high and b.rng.chance(0.35):
        return 0
    third = (high - low) // 4
    return b.rng.between(low + max(1, third), high - third)


def compare_constant(b: Builder) -> Expr | None:
    """x < 3."""
    left = ints.int_expr(b, 1) if b.rng.chance(0.25) else ints.atom(b)
    value = threshold(b, left)
    if value is None or left.text.isdigit():
        return None
    order = b.rng.pick(("<", ">", "<=", ">=", ">", "<", "==", "!="))
    if order in ("==", "!=") and left.hi - left.lo > 30:
        order = ">"
    return Expr(f"{left.at(ADD)} {order} {value}", BOOL, prec=COMPARE)


def compare_variables(b: Builder) -> Expr | None:
    """x < y."""
    left = ints.atom(b)
    right = ints.int_expr(b, 1) if b.rng.chance(0.3) else ints.atom(b)
    if left.text.isdigit() or left.text in right.text or right.text.isdigit():
        return None
    order = b.rng.pick((*ORDERS, "==", "!="))
    return Expr(f"{left.at(ADD)} {order} {right.at(ADD)}", BOOL, prec=COMPARE)


def divisible(b: Builder) -> Expr | None:
    """x % 3 == 0."""
    left = ints.atom(b)
    by = b.rng.pick((2, 2, 2, 3, 3, 4, 5))
    if left.text.isdigit() or left.reach < by:
        return None
    order = b.rng.pick(("==", "==", "==", "!="))
    rest = b.rng.pick((0, 0, 1, by - 1)) if b.rng.chance(0.9) else b.rng.below(by)
    return Expr(f"{left.at(ADD + 1)} % {by} {order} {rest}", BOOL, prec=COMPARE)


def of_char(b: Builder) -> Expr | None:
    """A test of one character."""
    var = b.choose(CHAR)
    if var is None:
        return None
    alphabet = ALPHABETS.get(var.flavour, "abc")
    name = ints.use(var).text
    if var.flavour in ("mixed", "fields", "cased", "words") and b.rng.chance(0.5):
        test = {"cased": ("isupper", "islower"), "words": ("isalpha", "isspace")}
        method = b.rng.pick(test.get(var.flavour, ("isdigit", "isalpha", "isdigit")))
        return Expr(f"{name}.{method}()", BOOL)
    if b.rng.chance(0.4):
        group = b.rng.pick(GROUPS.get(var.flavour, ("aeiou",)))
        return Expr(f"{name} {b.rng.pick(('in', 'in', 'not in'))} {group!r}", BOOL, prec=COMPARE)
    order = b.rng.pick(("==", "==", "!=", "<", ">"))
    return Expr(f"{name} {order} {b.rng.pick(alphabet)!r}", BOOL, prec=COMPARE)


def of_text(b: Builder) -> Expr | None:
    """A test of a string."""
    var = b.choose(STR)
    if var is None:
        return None
    name, letter = ints.use(var).text, b.rng.pick(ALPHABETS.get(var.flavour) or "abe")
    kind = b.rng.below(6)
    if kind == 0:
        return Expr(f"{name}.startswith({letter!r})", BOOL)
    if kind == 1:
        return Expr(f"{name}.endswith({letter!r})", BOOL)
    if kind == 2:
        return Expr(f"{letter!r} in {name}", BOOL, prec=COMPARE)
    if kind == 3 and b.knobs.difficulty > 1:
        return Expr(f"{name} == {name}[::-1]", BOOL, prec=COMPARE)
    if kind == 4:
        method = b.rng.pick(("isdigit", "isalpha", "islower"))
        return Expr(f"{name}.{method}()", BOOL)
    return Expr(f"len({name}) {b.rng.pick(ORDERS)} {b.rng.between(1, 4)}", BOOL, prec=COMPARE)


def membership(b: Builder) -> Expr | None:
    """x in xs."""
    var = b.choose(INTS, INTSET, INTMAP, TALLY, STRS)
    if var is None:
        return None
    item = b.choose(INT) if var.kind in (INTS, INTSET, INTMAP) else b.choose(STR, CHAR)
    if item is None:
        return None
    word = b.rng.pick(("in", "in", "not in"))
    return Expr(f"{ints.use(item).text} {word} {ints.use(var).text}", BOOL, prec=COMPARE)


def emptiness(b: Builder) -> Expr | None:
    """not xs, len(xs) > 2."""
    var = b.choose(*SIZED)
    if var is None or var.filled:
        return None
    name = ints.use(var).text
    if b.rng.chance(0.5):
        return Expr(*(((name, BOOL), (f"not {name}", BOOL, 0, 0, 0, NOT))[b.rng.below(2)]))
    return Expr(f"len({name}) {b.rng.pick(ORDERS)} {b.rng.between(1, 3)}", BOOL, prec=COMPARE)


def flag(b: Builder) -> Expr | None:
    """flag, not flag."""
    var = b.choose(BOOL)
    if var is None:
        return None
    name = ints.use(var).text
    return Expr(name, BOOL) if b.rng.chance(0.6) else Expr(f"not {name}", BOOL, prec=NOT)


def helper_call(b: Builder) -> Expr | None:
    """A call of a predicate."""
    made = calls.call(b, BOOL)
    if made is not None and b.rng.chance(0.25):
        return Expr(f"not {made.at(ATOM)}", BOOL, prec=NOT)
    return made


PRODUCTIONS: tuple[tuple[float, int, Make], ...] = (
    (7, 1, compare_constant),
    (3, 1, compare_variables),
    (3, 1, divisible),
    (5, 2, of_char),
    (2.5, 2, of_text),
    (2.5, 2, membership),
    (0.8, 2, emptiness),
    (2, 2, flag),
    (8, 2, helper_call),
)
TABLES: dict[int, list[tuple[float, Make]]] = {
    level: [(weight, make) for weight, least, make in PRODUCTIONS if least <= level]
    for level in range(1, 6)
}
