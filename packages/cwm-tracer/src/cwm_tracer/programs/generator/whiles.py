"""While loops that are sure to end, and searches."""

from cwm_tracer.programs.generator import bools, ints, loops, statements, updates
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import INT, INTS, SHARED, STR, Var


def rounds_of(value: int, base: int) -> int:
    """How often a value can be divided by `base` before it is zero."""
    count = 0
    while value > 0:
        value, count = value // base, count + 1
    return count


def enter(b: Builder, rounds: float, worst: float) -> None:
    """Count the repeated tests of a while header."""
    b.charge(rounds, worst)


def digits(b: Builder) -> bool:
    """while n > 0: use n % base; n //= base."""
    found = [v for v in b.vars if v.kind == INT and 3 < v.hi <= 999 and v.flavour != SHARED]
    if not found:
        return False
    source = b.rng.pick(found)
    base = b.rng.pick((10, 10, 2, 3, 4) if source.hi > 20 else (2, 2, 3, 10))
    worst = rounds_of(source.hi, base)
    acc = updates.accumulator(b, b.rng.pick((INT, INT, INTS, STR)))
    if b.left < 4 * worst + 4:
        return False
    source.uses += 1
    if source.steady or b.rng.chance(0.5):
        name = b.name(("n", "left", "cur", "t", "rest"))
        value = f"abs({source.name})" if source.lo < 0 and b.rng.chance(0.5) else source.name
        b.emit(f"{name} = {value}")
        var = b.declare(Var(name, INT, 0, source.hi))
    else:
        var = source
    b.emit(f"while {var.name} > 0:" if b.rng.chance(0.8) else f"while {var.name} >= {base}:")
    enter(b, 0.7 * worst, worst)
    with b.block(share=0.7 * worst, worst=worst, loop=True):
        digit = Var(b.name(("d", "r", "bit", "digit")), INT, 0, base - 1, steady=True)
        b.declare(digit)
        b.hold(var)
        if b.rng.chance(0.3):
            b.emit(f"{var.name}, {digit.name} = divmod({var.name}, {base})")
            b.focus = [digit]
            loops.step(b, acc)
        else:
            b.emit(f"{digit.name} = {var.name} % {base}")
            b.focus = [digit]
            loops.step(b, acc)
            b.emit(f"{var.name} //= {base}")
    return True


def countdown(b: Builder) -> bool:
    """while x > bound: change something; x -= step (or the other way round)."""
    rng = b.rng
    sources = [v for v in b.vars if v.kind == INT and 3 <= v.hi <= 60 and v.flavour != SHARED]
    if not sources:
        return False
    source = rng.pick(sources)
    most = min(b.knobs.length + 1, int(b.left / 5))
    if most < 2:
        return False
    step = max(rng.between(1, 3), -(-source.hi // most))
    worst = -(-source.hi // step)
    accs = loops.accumulators(b)
    source.uses += 1
    up = source.steady and rng.chance(0.5)
    start = source.name if source.steady else f"min({source.name}, {source.hi})"
    name = b.name(("i", "cur", "left", "n", "t"))
    b.emit(f"{name} = 0" if up else f"{name} = {start}")
    var = b.declare(Var(name, INT, 0, source.hi, steady=True))
    b.emit(f"while {name} < {source.name}:" if up else f"while {name} > 0:")
    enter(b, 0.7 * worst, worst)
    with b.block(share=0.7 * worst, worst=worst, loop=True):
        b.focus = [var]
        b.hold(source)
        if rng.chance(0.15) and b.left > 4:
            b.emit(f"if {bools.condition(b).text}:")
            with b.block(share=0.2, worst=0.4):
                b.emit("break")
        for acc in accs:
            if acc is not source:
                loops.step(b, acc)
        b.emit(f"{name} {'+=' if up else '-='} {step}")
    var.steady = False
    if source in accs:
        b.emit(f"{source.name} = {name}")
    return True


def growth(b: Builder) -> bool:
    """while x < bound: x = 2 * x + e; count += 1."""
    rng = b.rng
    bounds = [var for var in b.vars if var.kind == INT and var.steady and var.hi <= 200]
    start, factor = rng.between(1, 3), rng.between(2, 3)
    if bounds and rng.chance(0.7):
        bound, high = ints.use(rng.pick(bounds)).text, bounds[-1].hi
        high = max(var.hi for var in bounds)
    else:
        high = rng.between(10, b.knobs.value * 2)
        bound = str(high)
    worst = 1
    while start * factor**worst < high:
        worst += 1
    if b.left < 4 * worst + 3:
        return False
    acc = updates.accumulator(b, rng.pick((INT, INT, INTS)))
    name = b.name(("x", "cur", "size", "p", "v"))
    b.emit(f"{name} = {start}")
    var = b.declare(Var(name, INT, start, high * factor, steady=True))
    b.emit(f"while {name} {rng.pick(('<', '<='))} {bound}:")
    enter(b, 0.6 * worst, worst + 1)
    with b.block(share=0.6 * worst, worst=worst + 1, loop=True):
        b.focus = [var]
        first = rng.chance(0.5)
        if first:
            loops.step(b, acc)
        plus = f" + {rng.between(1, 3)}" if rng.chance(0.4) else ""
        b.emit(
            f"{name} = {name} * {factor}{plus}"
            if plus or rng.chance(0.5)
            else f"{name} *= {factor}"
        )
        if not first:
            loops.step(b, acc)
    var.steady = False
    return True


def two_pointers(b: Builder) -> bool:
    """i, j move towards each other over a sequence."""
    source = b.choose(INTS, STR)
    if source is None or b.left < 4 + 2.5 * source.size or not source.size:
        return False
    acc = updates.accumulator(b, b.rng.pick((INT, INT, INTS if source.kind == INTS else STR)))
    low, high = b.name(("i", "lo", "left")), b.name(("j", "hi", "right"))
    name, rounds = ints.use(source).text, max(1, source.size // 2)
    b.emit(f"{low}, {high} = 0, len({name}) - 1")
    one, two = b.name(("a", "x", "p")), b.name(("b", "y", "q"))
    b.emit(f"while {low} < {high}:")
    enter(b, 0.7 * rounds, rounds)
    with b.block(share=0.7 * rounds, worst=rounds, loop=True):
        kind = INT if source.kind == INTS else "char"
        b.emit(f"{one}, {two} = {name}[{low}], {name}[{high}]")
        items = [
            Var(n, kind, source.lo, source.hi, 1, steady=True, flavour=source.flavour)
            for n in (one, two)
        ]
        for item in items:
            b.declare(item)
        b.focus = items
        loops.step(b, acc)
        b.emit(f"{low} += 1")
        b.emit(f"{high} -= 1")
    return True


def queue(b: Builder) -> bool:
    """while work: x = work.pop(); sometimes push something smaller back."""
    rng = b.rng
    source = b.choose(INTS)
    if source is None or not source.size or b.left < 5 * source.size + 6:
        return False
    acc = updates.accumulator(b, rng.pick((INT, INTS)))
    name = b.name(("stack", "queue", "work", "todo"))
    made = rng.pick((f"list({source.name})", f"{source.name}[:]", f"sorted({source.name})"))
    source.uses += 1
    b.emit(f"{name} = {made}")
    rounds = source.size
    splits = rng.chance(0.4) and b.left > 12 * source.size and source.hi <= 40
    if splits:
        rounds = 2 * source.size
    b.emit(f"while {name}:" if rng.chance(0.7) else f"while len({name}) > {rng.between(0, 1)}:")
    enter(b, 0.7 * rounds, rounds)
    with b.block(share=0.7 * rounds, worst=rounds, loop=True):
        pop = b.name(("x", "cur", "top", "v"))
        item = b.declare(Var(pop, INT, source.lo, source.hi, steady=True))
        b.emit(f"{item.name} = {name}.pop({rng.pick(('', '', '0'))})")
        b.focus = [item]
        if splits:
            floor = max(2, source.hi // 3)
            b.emit(f"if {item.name} > {floor}:")
            with b.block(share=0.4):
                b.emit(f"{name}.append({item.name} {rng.pick(('// 3', f'- {source.hi - floor}'))})")
        loops.step(b, acc)
    return True


def search(b: Builder) -> bool:
    """The first item that passes a test: position or value, by break, flag or return."""
    head = loops.header(b, [])
    if head is None:
        return False
    rng, target = b.rng, None
    leaves = b.ret == INT and rng.chance(0.35)
    if not leaves:
        name = b.name(("pos", "hit", "found", "at", "first"))
        target = Var(name, INT, -1, 9)
        b.emit(f"{name} = {rng.pick(('-1', '-1', '0'))}")
    loops.open_loop(b, head)
    with b.block(share=0.5 * head.rounds, worst=head.rounds, loop=True):
        for item in head.items:
            b.declare(item)
        b.focus = list(head.items)
        b.emit(f"if {bools.condition(b).text}:")
        with b.block(share=0.3, worst=1 / head.rounds):
            found = [item for item in head.items if item.kind == INT]
            made = ints.use(found[0]) if found and rng.chance(0.75) else ints.int_expr(b, 1)
            if target is None:
                b.emit(f"return {made.text}")
            else:
                target.lo, target.hi = min(-1, made.lo), max(9, made.hi)
                b.emit(f"{target.name} = {made.text}")
                b.emit("break")
    if target is not None:
        if b.knobs.difficulty > 2 and rng.chance(0.25):
            b.note("else:")
            with b.block(share=0.4):
                b.emit(f"{target.name} = {ints.int_expr(b, 1).text}")
        b.declare(target)
    return True


def scan_texts(b: Builder) -> bool:
    """Numbers out of a text: split it, skip what is no number."""
    source = next((v for v in b.find((STR,)) if v.flavour in ("numbers", "fields")), None)
    if source is None or b.left < 4 * source.size // 2:
        return False
    rounds = 1 + source.size // 2
    acc = updates.accumulator(b, b.rng.pick((INT, INT, INTS)))
    part = b.name(("part", "tok", "w", "p"))
    b.emit(f"for {part} in {ints.use(source).text}.split(','):")
    b.charge(rounds, rounds)
    with b.block(share=0.7 * rounds, worst=rounds, loop=True):
        b.declare(Var(part, STR, size=2, steady=True, flavour="digits"))
        number = b.name(("num", "v", "x", "val"))
        if b.rng.chance(0.5):
            b.emit(f"if not {part}.isdigit():")
            with b.block(share=0.2):
                bad = statements.changeable(b, INT) if b.rng.chance(0.4) else None
                if bad is not None:
                    b.emit(f"{bad.name} -= 1")
                b.emit("continue")
            b.emit(f"{number} = int({part})")
        else:
            b.emit("try:")
            with b.block():
                b.emit(f"{number} = int({part})")
            b.emit("except ValueError:")
            with b.block(share=0.3):
                b.emit(b.rng.pick((f"{number} = 0", "continue", f"{number} = -1", "break")))
        b.focus = [b.declare(Var(number, INT, 0, 20, steady=True))]
        loops.step(b, acc)
    return True
