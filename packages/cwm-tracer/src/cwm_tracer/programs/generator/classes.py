"""Small classes with state, and phases that drive their objects."""

from dataclasses import dataclass, field

from cwm_tracer.programs.generator import bools, ints, loops, returns, statements, updates
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.draft import Draft, Phase
from cwm_tracer.programs.generator.kinds import BOOL, INT, INTS, SHARED, STR, TALLY, Expr, Var

NOUNS = (
    ("Box", "items", ("add", "put", "take")),
    ("Stack", "items", ("push", "put", "load")),
    ("Bank", "cash", ("pay", "move", "save")),
    ("Robot", "pos", ("move", "turn", "go")),
    ("Tank", "level", ("fill", "drain", "pour")),
    ("Score", "points", ("hit", "add", "mark")),
    ("Meter", "count", ("tick", "read", "note")),
    ("Queue", "line", ("join", "push", "add")),
    ("Shop", "sold", ("sell", "order", "stock")),
    ("Log", "notes", ("write", "add", "keep")),
    ("Game", "score", ("play", "roll", "move")),
    ("Lift", "floor", ("go", "call", "step")),
)
LIST_FIELDS = ("items", "line", "notes", "hist", "kept")
INT_FIELDS = ("total", "count", "best", "last", "size", "cap", "level", "score", "pos", "cash")
QUERIES = {
    INT: ("value", "get", "score_of", "rank", "left"),
    STR: ("show", "label", "name"),
    BOOL: ("full", "ready", "done", "is_ok"),
}


@dataclass(slots=True)
class Plan:
    """What later code must know of a class."""

    name: str
    given: list[Var] = field(default_factory=list)  # constructor parameters
    fields: list[Var] = field(default_factory=list)
    changes: list[tuple[str, Expr | None, float, float]] = field(default_factory=list)
    queries: list[tuple[str, Expr, float, float]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    init: tuple[float, float] = (3.0, 3.0)


def klass(draft: Draft) -> Phase:
    """A class definition, and a phase that makes and drives an object."""
    rng = draft.rng
    noun, main, verbs = rng.pick([n for n in NOUNS if n[0] not in draft.names])
    draft.names.add(noun)
    plan = Plan(noun)
    plan.lines.append(f"class {noun}:")
    constructor(draft, plan, main)
    if rng.chance(0.35):
        representation(plan)
    names = rng.some(verbs, rng.weighted(((6, 1), (2 + draft.knobs.difficulty, 2))))
    for name in names:
        change(draft, plan, name)
    if rng.chance(0.65):
        query(draft, plan)
    draft.defs.append("\n".join(plan.lines))
    if draft.knobs.difficulty > 3 and rng.chance(0.4):
        plan = subclass(draft, plan)
    return drive(plan)


def constructor(draft: Draft, plan: Plan, main: str) -> None:
    """__init__ with one to three fields."""
    rng, b = draft.rng, draft.builder(2)
    listed = main in LIST_FIELDS
    kinds = [(main, INTS if listed else INT)]
    for name in rng.some([n for n in INT_FIELDS if n != main], rng.weighted(((5, 1), (2, 2)))):
        kinds.append((name, INT))
    if rng.chance(0.15):
        kinds.append(("seen", TALLY if rng.chance(0.5) else INTS))
    for name, kind in kinds:
        var = Var(f"self.{name}", kind)
        if kind == INT and (rng.chance(0.4) or name == "cap") and len(plan.given) < 2:
            plan.given.append(Var(name, INT, 0, b.knobs.value, steady=True))
            var.lo, var.hi = 0, b.knobs.value
            b.emit(f"self.{name} = {name}")
        else:
            start = rng.pick((0, 0, 0, 1, 5)) if kind == INT else 0
            var.lo = var.hi = start
            b.emit(f"self.{name} = {start if kind == INT else '{}' if kind == TALLY else '[]'}")
        plan.fields.append(var)
    plan.init = (b.cost, b.worst)
    method(plan, "__init__", [var.name for var in plan.given], b)


def method(plan: Plan, name: str, params: list[str], b: Builder) -> None:
    """Add a method to the class body."""
    if len(plan.lines) > 1:
        plan.lines.append("")
    plan.lines.append(f"    def {name}({', '.join(['self', *params])}):")
    plan.lines += b.lines


def representation(plan: Plan) -> None:
    """A __repr__ that shows a field."""
    name = plan.fields[0].name
    plan.lines += ["", "    def __repr__(self):", f'        return f"{plan.name}({{{name}}})"']


def method_builder(draft: Draft, plan: Plan) -> Builder:
    """A builder for a method: the fields are its variables."""
    b = draft.builder(2)
    for var in plan.fields:
        b.declare(var)
    return b


def change(draft: Draft, plan: Plan, name: str) -> None:
    """A method that changes the fields and may say something about it."""
    rng, b = draft.rng, method_builder(draft, plan)
    param = b.declare(Var(b.name(("x", "n", "v", "k")), INT, -9, b.knobs.value, steady=True))
    b.focus = [param]
    b.ret = rng.pick((BOOL, INT, INT))
    answers = rng.chance(0.5)
    target = plan.fields[0] if rng.chance(0.7) else rng.pick(plan.fields)
    limit = next((var for var in plan.fields if var.name == "self.cap"), None)
    for var in plan.fields:
        var.mult = 0.15  # about seven calls are to be expected
    if rng.chance(0.4):
        refuse(b, param, limit, target, answers)
    if rng.chance(0.35):
        loops.conditional(b, target)
    else:
        updates.update(b, target)
    others = [var for var in plan.fields if var is not target and var is not limit]
    if others and (rng.chance(0.6) or not b.mentions(param.name)):
        updates.update(b, rng.pick(others))
    if not b.mentions(param.name):
        growing = next((v for v in plan.fields if v.kind == INT), None)
        owner = growing.name if growing else target.name
        b.emit(f"{owner} += {param.name}" if growing else f"{owner}.append({param.name})")
    made = answer(b, target) if answers else None
    plan.changes.append((name, made, b.cost, b.worst))
    method(plan, name, [param.name], b)


def refuse(b: Builder, param: Var, limit: Var | None, target: Var, answers: bool) -> None:
    """if too much: return early."""
    if limit is not None:
        size = f"len({target.name})" if target.kind != INT else f"{target.name} + {param.name}"
        test = f"{size} {b.rng.pick(('>=', '>'))} {limit.name}"
    else:
        test = bools.condition(b, 1).text
    b.emit(f"if {test}:")
    with b.block(share=0.3):
        if not (answers and returns.early(b)):
            b.emit("return False" if answers else "return")


def answer(b: Builder, target: Var) -> Expr:
    """The result of a change."""
    if b.ret == BOOL:
        made = Expr("True", BOOL) if b.rng.chance(0.6) else bools.condition(b, 1)
    elif target.kind == INT and b.rng.chance(0.6):
        made = ints.use(target)
    else:
        made = ints.int_expr(b, 1)
    b.emit(f"return {made.text}")
    return made


def query(draft: Draft, plan: Plan) -> None:
    """A method without parameters that reports something."""
    rng, b = draft.rng, method_builder(draft, plan)
    b.ret = rng.weighted(((6, INT), (2, STR), (2, BOOL)))
    name = rng.pick(QUERIES[b.ret])
    b.focus = plan.fields[:2]
    if b.ret == STR:
        one = rng.pick(plan.fields)
        text = rng.pick(("{}", "<{}>", f"{plan.name}={{}}")).format(f"{{{one.name}}}")
        made = Expr(f'f"{text}"', STR, size=12)
    elif b.ret == BOOL:
        made = bools.condition(b)
    else:
        if rng.chance(0.3):
            returns.conditional(b)
        made = ints.int_expr(b)
    b.emit(f"return {made.text}")
    plan.queries.append((name, made, b.cost, b.worst))
    method(plan, name, [], b)


def subclass(draft: Draft, base: Plan) -> Plan:
    """A class that overrides one change and calls the base's."""
    rng, b = draft.rng, method_builder(draft, base)
    name = rng.pick(("Big", "Fast", "Safe", "Double", "Smart")) + base.name
    draft.names.add(name)
    verb, made, cost, worst = rng.pick(base.changes)
    x = b.name(("x", "n", "v"))
    b.focus = [b.declare(Var(x, INT, -9, b.knobs.value, steady=True))]
    b.emit(f"if {bools.condition(b, 1).text}:")
    with b.block(share=0.4):
        b.emit(f"{x} = {rng.pick((f'{x} * 2', f'abs({x})', f'{x} // 2', '1', f'{x} - 1'))}")
    b.emit(f"return super().{verb}({x})" if made else f"super().{verb}({x})")
    plan = Plan(name, base.given, base.fields, [], base.queries, [f"class {name}({base.name}):"])
    plan.init = base.init
    method(plan, verb, [x], b)
    plan.changes = [(verb, made, cost + b.cost, worst + b.worst)]
    plan.changes += [item for item in base.changes if item[0] != verb]
    draft.defs.append("\n".join(plan.lines))
    return plan


def drive(plan: Plan) -> Phase:
    """Make an object, call its changes in a loop or in a row, ask it at the end."""

    def phase(b: Builder) -> bool:
        rng = b.rng
        name = b.name(("obj", plan.name.lower()[:5], plan.name[0].lower()))
        given = [
            str(rng.between(1, 10)) if rng.chance(0.6) else ints.atom(b).text for _ in plan.given
        ]
        b.emit(f"{name} = {plan.name}({', '.join(given)})")
        b.charge(*plan.init)
        if not loop_calls(b, plan, name):
            for _ in range(rng.between(1, 3)):
                single_call(b, plan, name)
        report(b, plan, name)
        return True

    return phase


def loop_calls(b: Builder, plan: Plan, name: str) -> bool:
    """for x in xs: obj.change(x)."""
    worst = max(change[3] for change in plan.changes) + 3
    if b.left < 3 * worst:
        return False
    head = loops.header(b, [])
    if head is None or b.left < worst * head.rounds or not any(v.kind == INT for v in head.items):
        return False
    acc = updates.accumulator(b, INT) if b.rng.chance(0.3) else None
    loops.open_loop(b, head)
    with b.block(share=0.75 * head.rounds, worst=head.rounds, loop=True):
        for item in head.items:
            b.declare(item)
        b.hold(head.source)
        b.focus = list(head.items)
        both = len(plan.changes) > 1 and b.rng.chance(0.6)
        if both or b.rng.chance(0.3):
            b.emit(f"if {bools.condition(b, 1).text}:")
            with b.block(share=0.5, worst=0.5 if both else 1.0):
                call(b, plan, name, acc, 0)
            if both:
                b.note("else:")
                with b.block(share=0.5, worst=0.5):
                    call(b, plan, name, acc, 1)
        else:
            call(b, plan, name, acc, 0)
    return True


def call(b: Builder, plan: Plan, name: str, acc: Var | None, index: int) -> None:
    """One call of a change; its answer goes to the accumulator, if there are both."""
    verb, made, cost, worst = plan.changes[index % len(plan.changes)]
    amount = ints.atom(b) if b.rng.chance(0.75) else ints.int_expr(b, 1)
    b.charge(cost, worst)
    text = f"{name}.{verb}({amount.text})"
    if acc is None or made is None:
        b.emit(text)
    elif made.kind == BOOL:
        b.emit(f"if {'not ' if b.rng.chance(0.4) else ''}{text}:")
        with b.block(share=0.5):
            b.emit(f"{acc.name} += {b.rng.between(1, 2)}")
    else:
        updates.grow(b, acc, made)
        b.emit(f"{acc.name} += {text}")


def single_call(b: Builder, plan: Plan, name: str) -> None:
    """A call outside a loop, its answer kept sometimes."""
    verb, made, cost, worst = b.rng.pick(plan.changes)
    if worst > b.left:
        return
    b.charge(cost, worst)
    text = f"{name}.{verb}({ints.int_expr(b, 1).text})"
    if made is not None and b.rng.chance(0.4):
        statements.local(b, Expr(text, made.kind, made.lo, made.hi))
    else:
        b.emit(text)


def report(b: Builder, plan: Plan, name: str) -> None:
    """Bind what the object says, and let later code see a field."""
    if plan.queries and plan.queries[0][3] <= b.left:
        verb, made, cost, worst = plan.queries[0]
        b.charge(cost, worst)
        statements.local(b, Expr(f"{name}.{verb}()", made.kind, made.lo, made.hi, made.size))
    for var in plan.fields[:2]:
        if var.kind in (INT, INTS):
            shown = var.name.replace("self", name)
            b.declare(Var(shown, var.kind, var.lo, var.hi, var.size, flavour=SHARED))
