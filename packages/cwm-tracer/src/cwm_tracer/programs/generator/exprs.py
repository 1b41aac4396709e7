"""Random expressions of every kind, literals, and comprehensions."""

from collections.abc import Callable

from cwm_tracer.programs.generator import bools, calls, comprehensions, ints
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import (
    ADD,
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
    TERNARY,
    Expr,
    Var,
)
from cwm_tracer.programs.generator.names import WORDS
from cwm_tracer.programs.generator.texts import ALPHABETS

Make = Callable[[Builder], Expr | None]


def expr(b: Builder, kind: str) -> Expr | None:
    """An expression of the kind; None where the scope offers nothing for it."""
    if kind == INT:
        return ints.int_expr(b)
    if kind == BOOL:
        return bools.condition(b)
    for _ in range(4):
        made = b.rng.weighted(TABLES[kind])(b)
        if made is not None:
            return made
    return None


def literal(b: Builder, kind: str) -> Expr:
    """A literal of the kind."""
    rng, knobs = b.rng, b.knobs
    if kind == INT:
        return ints.constant(b, 0, 9)
    if kind == BOOL:
        return Expr(rng.pick(("True", "False")), BOOL)
    if kind == CHAR:
        return Expr(repr(rng.pick("abc-+")), CHAR, size=1)
    if kind == STR:
        return Expr(repr(rng.pick(WORDS)), STR, size=3)
    count = rng.between(2, max(2, min(4, knobs.length)))
    if kind in (INTS, INTSET):
        values = rng.some(range(1, 10), count)
        text = ", ".join(map(str, values))
        return Expr(f"[{text}]" if kind == INTS else f"{{{text}}}", kind, 1, 9, count)
    if kind == STRS:
        return Expr(repr(rng.some(WORDS, count)), kind, size=count)
    if kind == PAIR:
        return Expr(f"({rng.below(6)}, {rng.below(10)})", kind, 0, 9, 2)
    keys = rng.some(WORDS, 2) if kind == TALLY else rng.some(range(8), 2)
    text = ", ".join(f"{key!r}: {rng.between(1, 9)}" for key in keys)
    return Expr(f"{{{text}}}", kind, 1, 9, 2)


def text_piece(b: Builder) -> Expr | None:
    """A string or character variable."""
    var = b.choose(STR, CHAR)
    return ints.use(var) if var else None


def method(b: Builder) -> Expr | None:
    """s.upper() and other methods."""
    var = b.choose(STR, CHAR)
    if var is None:
        return None
    name = ints.use(var).text
    letter = b.rng.pick(ALPHABETS.get(var.flavour) or "abc")
    options = [".upper()", ".upper()", f".replace({letter!r}, {b.rng.pick(('', '-', 'x'))!r})"]
    if var.kind == STR:
        options += [".title()", ".strip()", f".strip({letter!r})", ".capitalize()", ".swapcase()"]
    if b.knobs.difficulty > 3:
        options += [f".rjust({var.size + 1}, '.')", f".center({var.size + 2}, '*')"]
    return Expr(name + b.rng.pick(options), STR, size=var.size + 2 * (b.knobs.difficulty > 3))


def cut(b: Builder) -> Expr | None:
    """s[1:], s[::-1] and other slices."""
    var = b.choose(STR)
    if var is None:
        return None
    count = b.rng.between(1, 3)
    part = b.rng.pick((f"[{count}:]", f"[:{count}]", "[::-1]", "[:-1]", "[::2]", "[::-1]"))
    return Expr(ints.use(var).text + part, STR, size=var.size)


def concat(b: Builder) -> Expr | None:
    """s + c, or s * 2."""
    left = text_piece(b)
    if left is None:
        return None
    if left.size <= 3 and b.rng.chance(0.3):
        return Expr(f"{left.text} * {b.rng.between(2, 3)}", STR, size=left.size * 3, prec=ADD + 1)
    var = b.choose(STR, CHAR)
    right = literal(b, CHAR) if b.rng.chance(0.35) or var is None else ints.use(var)
    if left.text == right.text or left.size + right.size > 2 * b.knobs.text:
        return None
    return Expr(f"{left.text} + {right.text}", STR, size=left.size + right.size, prec=ADD)


def formatted(b: Builder) -> Expr | None:
    """An f-string."""
    pieces = [var for var in (b.choose(STR, CHAR, INT), b.choose(INT, STR)) if var is not None]
    if not pieces:
        return None
    if len(pieces) > 1 and pieces[0].name == pieces[1].name:
        pieces.pop()
    texts = [f"{{{ints.use(var).text}}}" for var in pieces]
    if len(texts) == 1:
        around = b.rng.pick(("<{}>", "#{}", "[{}]", "{}!", "x{}", "n={}"))
        return Expr(f'f"{around.format(texts[0])}"', STR, size=8)
    joint = b.rng.pick((":", "-", "=", "/", " "))
    return Expr(f'f"{joint.join(texts)}"', STR, size=2 * b.knobs.text)


def digits(b: Builder) -> Expr | None:
    """str(n)."""
    var = b.choose(INT)
    return Expr(f"str({ints.use(var).text})", STR, size=4) if var else None


def joined(b: Builder) -> Expr | None:
    """sep.join(parts)."""
    joint = b.rng.pick(("", "-", ",", " ", "", "+"))
    var = b.choose(STRS)
    if var is not None:
        return Expr(f"{joint!r}.join({ints.use(var).text})", STR, size=var.size * 4)
    var = b.choose(STR)
    if var is None:
        return None
    made = b.rng.pick((f"sorted({var.name})", f"reversed({var.name})", f"sorted(set({var.name}))"))
    var.uses += 1
    return Expr(f"{joint!r}.join({made})", STR, size=2 * var.size)


def text_choice(b: Builder) -> Expr | None:
    """'a' if condition else 'b'."""
    condition = bools.condition(b, 1)
    first, second = b.rng.some(LABELS, 2)
    text = f"{first!r} if {condition.at(TERNARY + 1)} else {second!r}"
    return Expr(text, STR, size=4, prec=TERNARY)


LABELS = ("low", "high", "even", "odd", "yes", "no", "up", "down", "big", "tiny", "ok", "bad")


def list_slice(b: Builder) -> Expr | None:
    """xs[1:] and the like, for lists of any kind in `INTS`, `STRS`."""
    var = b.choose(INTS)
    if var is None:
        return None
    k = b.choose(INT)
    count = str(b.rng.between(1, 3)) if k is None or b.rng.chance(0.6) else ints.use(k).text
    name = ints.use(var).text
    kind = b.rng.below(7)
    if kind == 6 and var.size <= b.knobs.length:
        return Expr(f"{name}[{count}:] + {name}[:{count}]", INTS, var.lo, var.hi, var.size, ADD)
    part = (f"[{count}:]", f"[:{count}]", "[::-1]", "[::2]", "[1::2]", f"[-{count}:]", "[1:]")[kind]
    if part.startswith("[-") and not count.isdigit():
        part = "[-2:]"
    return Expr(name + part, INTS, var.lo, var.hi, var.size)


def ordered(b: Builder) -> Expr | None:
    """sorted(xs), with a key sometimes."""
    var = b.choose(INTS, INTSET)
    if var is None:
        return None
    name = ints.use(var).text
    if b.knobs.difficulty > 2 and b.rng.chance(0.4) and var.size + 6 < b.left:
        key, cost = sort_key(b, var)
        if key:
            b.charge(cost, cost * 1.3)
            return Expr(f"sorted({name}, key={key})", INTS, var.lo, var.hi, var.size)
    text = f"sorted({name}, reverse=True)" if b.rng.chance(0.35) else f"sorted({name})"
    return Expr(text, INTS, var.lo, var.hi, var.size)


def sort_key(b: Builder, var: Var) -> tuple[str, float]:
    """A key function for ints, and the events it costs to sort with it."""
    if var.lo < 0 and b.rng.chance(0.4):
        return "abs", 0.0
    x = "v" if var.name == "x" else "x"
    by = b.rng.between(2, 5)
    keys = (f"-{x}", f"{x} % {by}", f"({x} % {by}, {x})", f"abs({x} - {by})", f"({x} % 2, -{x})")
    return f"lambda {x}: {b.rng.pick(keys)}", 3.0 * var.size


def repeated(b: Builder) -> Expr | None:
    """[a, b], xs + [a], list(range(k))."""
    var = b.choose(INTS)
    one = ints.int_expr(b, 1)
    if var is not None and b.rng.chance(0.6):
        text = f"{ints.use(var).text} + [{one.text}]"
        return Expr(text, INTS, min(var.lo, one.lo), max(var.hi, one.hi), var.size + 1, ADD)
    two = ints.int_expr(b, 1)
    if one.text == two.text or one.text.isdigit():
        return None
    return Expr(f"[{one.text}, {two.text}]", INTS, min(one.lo, two.lo), max(one.hi, two.hi), 2)


def split_text(b: Builder) -> Expr | None:
    """s.split() or list(s)."""
    var = b.choose(STR)
    if var is None or var in b.focus:
        return None
    name = ints.use(var).text
    if var.flavour in ("numbers", "fields"):
        return Expr(f"{name}.split(',')", STRS, size=1 + var.size // 2)
    if var.flavour == "words":
        return Expr(f"{name}.split()", STRS, size=1 + var.size // 3)
    return Expr(f"list({name})", STRS, size=var.size)


def text_list(b: Builder) -> Expr | None:
    """sorted(words), words[1:] and the like."""
    var = b.choose(STRS)
    if var is None:
        return None
    name = ints.use(var).text
    forms = (f"sorted({name})", f"{name}[1:]", f"{name}[::-1]", f"sorted({name}, key=len)")
    return Expr(b.rng.pick(forms), STRS, size=var.size)


def distinct(b: Builder) -> Expr | None:
    """set(xs)."""
    var = b.choose(INTS)
    if var is None:
        return None
    return Expr(f"set({ints.use(var).text})", INTSET, var.lo, var.hi, var.size)


def collected(kind: str) -> Make:
    """A maker of comprehensions."""
    return lambda b: comprehensions.comprehension(b, kind)


def helper(kind: str) -> Make:
    """A maker of helper calls."""
    return lambda b: calls.call(b, kind)


TABLES: dict[str, list[tuple[float, Make]]] = {
    STR: [
        (3, method),
        (3, cut),
        (3, concat),
        (3, formatted),
        (1, digits),
        (2, joined),
        (1.5, text_choice),
        (5, helper(STR)),
    ],
    CHAR: [(1, lambda b: literal(b, CHAR))],
    INTS: [
        (3, list_slice),
        (3, ordered),
        (2, repeated),
        (7, collected(INTS)),
        (4, helper(INTS)),
    ],
    STRS: [(3, split_text), (3, text_list), (3.5, collected(STRS))],
    TALLY: [(1, collected(TALLY))],
    INTMAP: [(1, collected(INTMAP))],
    INTSET: [(1, distinct), (1.5, collected(INTSET))],
}
