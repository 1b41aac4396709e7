"""Recursive helpers: every call works on something smaller."""

from cwm_tracer.programs.generator import bools, ints
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.draft import Draft, Phase, signature
from cwm_tracer.programs.generator.functions import use
from cwm_tracer.programs.generator.kinds import INT, INTS, STR, TERNARY, Expr, Func, Var
from cwm_tracer.programs.generator.names import RECURSIVE


def recursive(draft: Draft) -> Phase:
    """A recursive function, and a phase that uses it."""
    b = draft.builder()
    b.funcs = []
    name = draft.name(RECURSIVE)
    make = draft.rng.weighted(SHAPES)
    params, made, depth = make(b, name)
    cost, worst = b.cost * 0.7 * depth, b.worst * depth
    func = Func(name, tuple(p for p in params if "=" not in p.name), made, cost, worst)
    draft.define(signature(name, params), b)
    draft.funcs.append(func)
    return use(func)


Made = tuple[list[Var], Expr, int]


def stop(b: Builder, test: str, value: str) -> None:
    """The base case."""
    b.emit(f"if {test}:")
    with b.block(share=0.3):
        b.emit(f"return {value}")
    b.worst -= 1


def count_down(b: Builder, name: str) -> Made:
    """rec(n - 1), rec(n - 2)."""
    rng = b.rng
    depth = 3 + b.knobs.difficulty // 2
    n = b.declare(Var(b.name(("n", "k", "m")), INT, 0, depth, strict=True, steady=True))
    base, by = rng.pick((0, 0, 1)), rng.pick((1, 1, 1, 2))
    stop(b, rng.pick((f"{n.name} <= {base}", f"{n.name} < {base + 1}")), str(rng.below(3)))
    inner = f"{name}({n.name} - {by})"
    if rng.chance(0.35):
        b.emit(f"if {bools.condition(b, 1).text}:")
        with b.block(share=0.4):
            b.emit(f"return {combine(b, n.name, inner)}")
    b.emit(f"return {combine(b, n.name, inner)}")
    return [n], Expr("", INT, -99, 99), 1 + -(-depth // by)


def combine(b: Builder, item: str, inner: str) -> str:
    """How the result for the rest and the present item are joined."""
    step = b.rng.between(1, 4)
    forms = (
        f"{item} + {inner}",
        f"{inner} + {step}",
        f"{inner} - {item}",
        f"2 * {inner} + {item}",
        f"{item} * {step} + {inner}",
        f"max({item}, {inner} + {step})",
        f"{inner} + {item} % {step + 1}",
    )
    return b.rng.pick(forms)


def digits(b: Builder, name: str) -> Made:
    """rec(n // 10)."""
    base = b.rng.pick((10, 10, 2, 3))
    n = b.declare(Var(b.name(("n", "k", "num")), INT, 0, b.knobs.value, steady=True))
    start = b.rng.pick((str(n.name), "0", "1", n.name))
    stop(b, f"{n.name} < {base}", start)
    inner, digit = f"{name}({n.name} // {base})", f"{n.name} % {base}"
    forms = (
        f"{digit} + {inner}",
        f"1 + {inner}",
        f"{inner} + ({digit} > {base // 2})",
        f"max({digit}, {inner})",
        f"{inner} * 2 + {digit}",
        f"{inner} - {digit}",
    )
    b.emit(f"return {b.rng.pick(forms)}")
    return [n], Expr("", INT, -60, 60), 3 if base == 10 else 6


def over_list(b: Builder, name: str) -> Made:
    """rec(xs[1:])."""
    rng, size = b.rng, b.knobs.length + 1
    xs = b.declare(Var(b.name(("xs", "nums", "items", "seq")), INTS, -20, 20, size, steady=True))
    to_list = rng.chance(0.35)
    ends = ("0", "[:-1]") if rng.chance(0.2) else ("0", "[1:]")
    head, rest = f"{xs.name}[{'-1' if ends[1] == '[:-1]' else '0'}]", f"{xs.name}{ends[1]}"
    stop(
        b,
        rng.pick((f"not {xs.name}", f"len({xs.name}) == 0")),
        "[]" if to_list else rng.pick(("0", "0", "1")),
    )
    if rng.chance(0.5):
        first = b.name(("first", "x", "head"))
        b.emit(f"{first} = {head}")
        b.focus = [b.declare(Var(first, INT, xs.lo, xs.hi, steady=True))]
        head = first
    inner = f"{name}({rest})"
    if rng.chance(0.5) and b.focus:
        b.emit(f"if {bools.condition(b, 1).text}:")
        with b.block(share=0.4):
            skip = rng.chance(0.6)
            b.emit(f"return {inner if skip else join(b, head, inner, to_list)}")
    b.emit(f"return {join(b, head, inner, to_list)}")
    kind = INTS if to_list else INT
    return [xs], Expr("", kind, -99, 99, size), size + 1


def join(b: Builder, head: str, inner: str, to_list: bool) -> str:
    """One element joined to the result for the others."""
    if to_list:
        e = b.rng.pick((head, head, f"{head} * 2", f"{head} + 1", f"-{head}"))
        return b.rng.pick((f"[{e}] + {inner}", f"{inner} + [{e}]"))
    return combine(b, head, inner)


def over_text(b: Builder, name: str) -> Made:
    """rec(s[1:])."""
    rng, size = b.rng, b.knobs.text
    s = b.declare(Var(b.name(("s", "t", "text")), STR, 0, 0, size, steady=True, flavour="letters"))
    to_text = rng.chance(0.5)
    stop(
        b,
        rng.pick((f"not {s.name}", f'{s.name} == ""', f"len({s.name}) == 0")),
        '""' if to_text else "0",
    )
    inner, c = f"{name}({s.name}[1:])", f"{s.name}[0]"
    group = rng.pick(("aeiou", "abc", "bd"))
    if to_text:
        b.emit(f"if {c} in {group!r}:")
        with b.block(share=0.4):
            b.emit(f"return {rng.pick((inner, f'{c}.upper() + {inner}', f'{inner} + {c}'))}")
        b.emit(f"return {rng.pick((f'{c} + {inner}', f'{inner} + {c}'))}")
        return [s], Expr("", STR, size=size), size + 1
    forms = (f"({c} in {group!r}) + {inner}", f"1 + {inner}", f"{inner} + {s.name}.count({c})")
    b.emit(f"return {rng.pick(forms)}")
    return [s], Expr("", INT, 0, size), size + 1


def two_calls(b: Builder, name: str) -> Made:
    """rec(n - 1) + rec(n - 2)."""
    rng = b.rng
    high = 3 if b.knobs.difficulty < 4 else 4
    n = b.declare(Var(b.name(("n", "k", "i")), INT, 0, high, strict=True, steady=True))
    stop(b, rng.pick((f"{n.name} < 2", f"{n.name} <= 1")), rng.pick((n.name, "1", "1", n.name)))
    sign, factor = rng.pick(("+", "+", "+", "-")), rng.pick(("", "", "2 * "))
    b.emit(f"return {name}({n.name} - 1) {sign} {factor}{name}({n.name} - 2)")
    return [n], Expr("", INT, -30, 30), 5 if high == 3 else 9


def euclid(b: Builder, name: str) -> Made:
    """rec(b, a % b), perhaps with a count of the steps."""
    rng = b.rng
    one = b.declare(Var(b.name(("a", "x", "m")), INT, 0, b.knobs.value, steady=True))
    two = b.declare(Var(b.name(("b", "y", "k")), INT, 0, b.knobs.value, steady=True))
    stop(b, f"{two.name} == 0", rng.pick((one.name, one.name, "0", f"abs({one.name})")))
    plus = rng.pick(("", "", "1 + "))
    b.emit(f"return {plus}{name}({two.name}, {one.name} % {two.name})")
    return [one, two], Expr("", INT, 0, b.knobs.value), 5


def carrying(b: Builder, name: str) -> Made:
    """rec(n - 1, acc + n), with a default for the accumulator."""
    rng, depth = b.rng, 3 + b.knobs.difficulty // 2
    n = b.declare(Var(b.name(("n", "k", "left")), INT, 0, depth, strict=True, steady=True))
    acc = b.name(("acc", "total", "res"))
    b.declare(Var(acc, INT, 0, 99, steady=True))
    stop(b, f"{n.name} <= 0", rng.pick((acc, acc, f"{acc} * 2")))
    if rng.chance(0.4):
        b.emit(f"if {n.name} % 2 == {rng.below(2)}:")
        with b.block(share=0.5):
            b.emit(f"return {name}({n.name} - 1, {acc})")
    b.focus = [n]
    step = ints.int_expr(b, 1)
    text = step.text if acc in step.text else f"{acc} + {step.at(TERNARY + 1)}"
    b.emit(f"return {name}({n.name} - {rng.pick((1, 1, 2))}, {text})")
    default = Var(f"{acc}={rng.pick((0, 0, 1))}", INT)
    return [n, default], Expr("", INT, -150, 150), depth + 1


def halves(b: Builder, name: str) -> Made:
    """Divide and conquer over a list."""
    rng, size = b.rng, b.knobs.length
    xs = b.declare(Var(b.name(("xs", "nums", "part")), INTS, -20, 20, size, steady=True))
    stop(
        b,
        f"len({xs.name}) < 2",
        f"{xs.name}[0] if {xs.name} else 0" if rng.chance(0.6) else f"sum({xs.name})",
    )
    mid = b.name(("mid", "half", "m"))
    b.emit(f"{mid} = len({xs.name}) // 2")
    left, right = f"{name}({xs.name}[:{mid}])", f"{name}({xs.name}[{mid}:])"
    forms = (
        f"{left} + {right}",
        f"max({left}, {right})",
        f"{left} - {right}",
        f"min({left}, {right}) + {rng.between(1, 3)}",
    )
    b.emit(f"return {rng.pick(forms)}")
    return [xs], Expr("", INT, -60, 60), 2 * size - 1


SHAPES = (
    (4, count_down),
    (2.5, digits),
    (4, over_list),
    (2.5, over_text),
    (1, two_calls),
    (1, euclid),
    (2, carrying),
    (1, halves),
)
