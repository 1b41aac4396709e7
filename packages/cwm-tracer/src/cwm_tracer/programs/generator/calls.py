"""Calls of the helper functions that a program defined before."""

from cwm_tracer.programs.generator import exprs, ints
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import INT, MUL, UNARY, Expr, Func, Var


def callable_funcs(b: Builder, kind: str, yields: bool = False) -> list[Func]:
    """The helpers of a result kind that are affordable here and may be called here."""
    return [
        func
        for func in b.funcs
        if func.returns.kind == kind
        and func.yields == yields
        and func.worst <= b.left
        and (b.risky or not func.raises)
    ]


def call(b: Builder, kind: str) -> Expr | None:
    """A call of a helper that returns `kind`, its cost charged; None if there is none."""
    funcs = callable_funcs(b, kind)
    if not funcs:
        return None
    func = b.rng.pick(funcs)
    return invoke(b, func)


def invoke(b: Builder, func: Func) -> Expr | None:
    """The call itself, with arguments that fit; None if an argument cannot be made."""
    given = []
    for param in func.params:
        text = argument(b, param)
        if text is None:
            return None
        given.append(text)
    b.charge(func.cost, func.worst)
    made = func.returns
    text = f"{func.name}({', '.join(given)})"
    return Expr(text, made.kind, made.lo, made.hi, made.size)


def argument(b: Builder, param: Var) -> str | None:
    """An argument whose size is what the helper counts on."""
    if param.kind == INT:
        return int_argument(b, param)
    found = b.choose(param.kind)
    if found is not None and found.size <= param.size:
        return ints.use(found).text
    if found is not None and param.kind.startswith(("list", "str")):
        return f"{ints.use(found).text}[:{param.size}]"
    made = exprs.literal(b, param.kind) if b.rng.chance(0.3) else None
    return made.text if made is not None else None


def int_argument(b: Builder, param: Var) -> str:
    """An int argument; reduced into the parameter's bounds where the helper relies on them."""
    made = ints.int_expr(b, 1) if b.rng.chance(0.25) else ints.atom(b)
    if not param.strict:
        return made.text
    var = next((var for var in b.vars if var.name == made.text and var.steady), None)
    if var is not None and param.lo <= var.lo and var.hi <= param.hi:
        return made.text
    if made.text.isdigit() and int(made.text) <= param.hi:
        return made.text
    if b.rng.chance(0.5) or made.prec < MUL:
        return f"min({made.text}, {param.hi})"
    return f"{made.at(UNARY)} % {param.hi + 1}"
