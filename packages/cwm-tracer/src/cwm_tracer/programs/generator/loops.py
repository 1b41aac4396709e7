"""For loops: what they run over and what one round does."""

from dataclasses import dataclass

from cwm_tracer.programs.generator import bools, comprehensions, ints, returns, statements, updates
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import (
    ADD,
    GRID,
    INT,
    INTMAP,
    INTS,
    INTSET,
    PAIRS,
    STR,
    STRS,
    TALLY,
    Var,
)
from cwm_tracer.programs.generator.names import INDEXES, ITEMS

LOOPABLE = (INTS, INTS, STR, STRS, TALLY, INTMAP, INTSET, PAIRS, GRID)


@dataclass(slots=True)
class Header:
    """A loop header: its line, what it binds and how often it runs."""

    text: str
    items: list[Var]
    rounds: int
    source: Var | None = None


def range_header(b: Builder) -> Header | None:
    """for i in range(...)."""
    rng, most = b.rng, min(b.knobs.length + 1, int(b.left / 3))
    if most < 2:
        return None
    name = b.name(INDEXES)
    counts = [var for var in b.vars if var.kind == INT and var.steady and 2 <= var.hi <= most]
    if counts and rng.chance(0.75):
        var = rng.pick(counts)
        low = rng.pick((0, 0, 0, 1))
        text = f"{low}, {var.name} + 1" if low else var.name
        var.uses += 1
        return Header(f"range({text})", [Var(name, INT, low, var.hi, steady=True)], var.hi)
    if rng.chance(0.5):
        made = ints.int_expr(b, 1)
        if not made.text.isdigit():
            by = rng.between(2, most)
            bound = f"{made.at(ADD + 1)} % {by}" + (" + 1" if rng.chance(0.4) else "")
            return Header(f"range({bound})", [Var(name, INT, 0, by - 1, steady=True)], by)
    count = rng.between(2, min(most, 4))
    low, step = rng.pick((0, 0, 1, 2)), rng.pick((1, 1, 1, 2, 3))
    high = low + step * (count - 1)
    if rng.chance(0.12):
        text = f"{high}, {low - 1}, -1" if step == 1 else f"{high}, {low - 1}, -{step}"
    elif step > 1:
        text = f"{low}, {high + 1}, {step}"
    else:
        text = f"{low}, {high + 1}" if low else str(high + 1)
    return Header(f"range({text})", [Var(name, INT, low, high, steady=True)], count)


def sequence_header(b: Builder, accs: list[Var]) -> Header | None:
    """for x in xs, over a list, a string, a dict, a sorted set, ..."""
    var = b.choose(*LOOPABLE)
    if var is None or not var.size or b.left < 3 * var.size or var in accs:
        return None
    var.uses += 1
    made = over(b, var)
    made.source = var
    return made


def over(b: Builder, var: Var) -> Header:
    """A header over the given collection."""
    if var.kind in (TALLY, INTMAP):
        return dict_header(b, var)
    if var.kind == PAIRS:
        key, value = b.name(("name", "key", "w")), b.name(("v", "qty", "num", "cost"))
        return Header(
            var.name,
            [Var(key, STR, size=3, steady=True), Var(value, INT, -3, 9, steady=True)],
            var.size,
        )
    if var.kind == GRID:
        row = Var(b.name(ITEMS[INTS]), INTS, 0, 9, 3, filled=True, steady=True)
        return Header(var.name, [row], 3)
    item = comprehensions.item_var(b, var)
    if var.kind == INTSET:
        return Header(f"sorted({var.name})", [item], var.size)
    return variant(b, var, item)


def variant(b: Builder, var: Var, item: Var) -> Header:
    """Over the sequence itself, a part of it, its positions, or its neighbours."""
    kind = b.rng.below(20)
    if kind < 2:
        count = b.rng.between(1, 2)
        part = b.rng.pick((f"[{count}:]", f"[:{count + 1}]", "[::2]", "[:-1]"))
        return Header(var.name + part, [item], max(1, var.size - 1))
    if kind == 2:
        return Header(f"reversed({var.name})", [item], var.size)
    if kind == 3:
        return Header(f"sorted({var.name})", [item], var.size)
    if kind < 7:
        index = Var(b.name(INDEXES), INT, 0, var.size - 1, steady=True)
        start = ", 1" if b.rng.chance(0.2) else ""
        return Header(f"enumerate({var.name}{start})", [index, item], var.size)
    if kind < 9:
        return zip_header(b, var, item)
    return Header(var.name, [item], var.size)


def zip_header(b: Builder, var: Var, item: Var) -> Header:
    """for x, y in zip(xs, ys); neighbours of one list if there is no second one."""
    others = [v for v in b.find((INTS, STR)) if v.name != var.name and v.size]
    other = b.rng.pick(others) if others else var
    second = comprehensions.item_var(b, other) if other.kind in (INTS, STR) else None
    if second is None:
        return Header(var.name, [item], var.size)
    if other is var:
        return Header(f"zip({var.name}, {var.name}[1:])", [item, second], max(1, var.size - 1))
    other.uses += 1
    return Header(f"zip({var.name}, {other.name})", [item, second], min(var.size, other.size))


def dict_header(b: Builder, var: Var) -> Header:
    """for k, v in d.items()."""
    kind = STR if var.kind == TALLY else INT
    key = Var(b.name(("k", "key", "name")), kind, 0, 9, 3, steady=True)
    value = Var(b.name(("v", "num", "qty")), INT, var.lo, var.hi, steady=True)
    form = b.rng.below(10)
    if form < 6:
        return Header(f"{var.name}.items()", [key, value], var.size)
    if form < 8:
        return Header(f"sorted({var.name})", [key], var.size)
    return Header(f"{var.name}.values()", [value], var.size)


def header(b: Builder, accs: list[Var]) -> Header | None:
    """A loop header that the remaining events allow."""
    ranged = 0.75 if b.knobs.difficulty == 1 else 0.25
    made = None if b.rng.chance(ranged) else sequence_header(b, accs)
    return made or range_header(b)


def open_loop(b: Builder, head: Header) -> None:
    """Emit the header line and count its repeated events."""
    b.emit(f"for {', '.join(item.name for item in head.items)} in {head.text}:")
    b.charge(0.75 * head.rounds, head.rounds)


def for_loop(b: Builder, accs: list[Var] | None = None) -> bool:
    """A loop that changes accumulators, mostly under conditions."""
    if b.left < 9:
        return False
    accs = accs if accs is not None else accumulators(b)
    if not accs:
        return False
    head = header(b, accs)
    if head is None:
        return False
    since = len(b.lines)
    open_loop(b, head)
    with b.block(share=0.75 * head.rounds, worst=head.rounds, loop=True):
        for item in head.items:
            b.declare(item)
        b.hold(head.source)
        b.focus = list(head.items)
        round_body(b, head.items, accs, since)
    return True


def accumulators(b: Builder) -> list[Var]:
    """What the next loop works on: variables that exist, or fresh ones."""
    kinds = [
        (4, INT),
        (1.5, STR),
        (3, INTS),
        (1.5, TALLY),
        (1.2, INTMAP),
        (1.2, INTSET),
        (1, STRS),
        (0.4, "bool"),
    ]
    if b.knobs.difficulty == 1:
        kinds = [(1, INT)]
    old = [v for v in b.vars if v.kind == INT and not v.steady and v not in b.held]
    if old and b.rng.chance(0.35):
        accs = [b.rng.pick(old)]
    else:
        ready = any(var.kind == b.ret and not var.steady for var in b.vars)
        kind = b.ret if b.ret in updates.UPDATES and not ready else b.rng.weighted(kinds)
        accs = [updates.accumulator(b, kind)]
    if b.rng.chance(0.12 * (b.knobs.difficulty - 1)):
        accs.append(updates.accumulator(b, b.rng.weighted(kinds)))
    return accs


def round_body(b: Builder, items: list[Var], accs: list[Var], since: int) -> None:
    """One round: guards, helpers, then a change of every accumulator."""
    rng = b.rng
    if b.knobs.difficulty > 1 and rng.chance(0.22):
        guard(b, accs)
    if rng.chance(0.25) and b.left > 3 and b.knobs.difficulty > 1:
        made = ints.int_expr(b)
        if not made.text.isdigit() and not made.text.isidentifier():
            b.focus = [*b.focus, statements.local(b, made)]
    for acc in accs:
        step(b, acc)
    for item in items:
        if not b.mentions(item.name, since + 1) and b.left > 1:
            b.focus = [item]
            use_item(b, item, accs)


def use_item(b: Builder, item: Var, accs: list[Var]) -> None:
    """Make sure that a loop variable matters."""
    if item.kind == INT and accs[0].kind == INT:
        b.emit(f"{accs[0].name} += {item.name}")
        updates.grow(b, accs[0], ints.use(item))
    elif b.rng.chance(0.7):
        updates.update(b, accs[-1])


def guard(b: Builder, accs: list[Var]) -> None:
    """if c: continue / break / return."""
    b.emit(f"if {bools.condition(b).text}:")
    with b.block(share=0.2, worst=0.4):
        kind = b.rng.below(10)
        if kind < 5:
            b.emit("continue")
        elif kind < 8 or not returns.early(b):
            b.emit("break")


def step(b: Builder, acc: Var) -> None:
    """Change the accumulator: always, under a condition, or in a nested loop."""
    rng, nested = b.rng, False
    room = b.blocks < b.knobs.nesting
    if room and b.loops < 2 and b.left > 14 and rng.chance(b.knobs.nested):
        nested = for_loop(b, [acc])
    if nested:
        return
    if room and rng.chance(0.6):
        conditional(b, acc)
    else:
        updates.update(b, acc)


def conditional(b: Builder, acc: Var) -> None:
    """if c: change [elif c2: change] [else: change]."""
    rng, arms = b.rng, b.rng.weighted(((5, 1), (4, 2), (1.2, 3)))
    arms = 1 if b.left < 5 else arms
    before = 0
    for index in range(arms):
        start = len(b.lines)
        if index and index == arms - 1:
            b.note("else:")
        else:
            b.emit(f"{'elif' if index else 'if'} {bools.condition(b).text}:")
        with b.block(share=0.55 if arms == 1 else 1 / arms, worst=1.0 if arms == 1 else 0.7):
            updates.update(b, acc)
            other = statements.changeable(b, INT) if rng.chance(0.12) else None
            if other is not None and other is not acc and b.left > 2:
                updates.update(b, other)
        b.drop_twin(before, start)
        before = start
