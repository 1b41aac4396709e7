"""Small simulations: state machines, moves on a grid, bounded stores, bracket matching."""

from cwm_tracer.programs.generator import bools, ints, loops, statements, updates
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import BOOL, CHAR, INT, INTS, STR, Var
from cwm_tracer.programs.generator.texts import ALPHABETS

STATES = (
    ("idle", "run", "stop"),
    ("a", "b", "c"),
    ("off", "on", "err"),
    ("up", "down", "flat"),
    ("new", "open", "done"),
)


def state_machine(b: Builder) -> bool:
    """A named state that items move along."""
    source = b.choose(STR, INTS)
    if source is None or not source.size or b.left < 5 * source.size + 3:
        return False
    states = list(b.rng.pick(STATES))[: b.rng.between(2, 3)]
    state = b.name(("state", "mode", "st"))
    b.emit(f"{state} = {states[0]!r}")
    accs = [updates.accumulator(b, INT)] if b.rng.chance(0.7) else []
    head = loops.Header(source.name, [], source.size)
    item = item_of(b, source)
    head.items = [item]
    loops.open_loop(b, head)
    with b.block(share=0.75 * head.rounds, worst=head.rounds, loop=True):
        b.declare(item)
        b.focus = [item]
        b.worst -= b.worst_mult
        for index, name in enumerate(states):
            transition(b, state, states, index, accs)
            del name
    b.declare(Var(state, STR, size=4))
    return True


def item_of(b: Builder, source: Var) -> Var:
    """A loop variable over a text or a list."""
    kind = CHAR if source.kind == STR else INT
    name = b.name(("c", "ch") if kind == CHAR else ("x", "v"))
    return Var(name, kind, source.lo, source.hi, 1, steady=True, flavour=source.flavour)


def transition(b: Builder, state: str, states: list[str], index: int, accs: list[Var]) -> None:
    """The arm for one state: where to go next, and what to count."""
    word = ("if", "elif")[index > 0]
    test = f"{state} == {states[index]!r}"
    if b.rng.chance(0.55):
        test += f" and {bools.condition(b, 1).at(3)}"
    b.emit(f"{word} {test}:")
    b.worst -= 0.4 * b.worst_mult
    with b.block(share=1 / len(states), worst=0.5):
        b.emit(f"{state} = {states[(index + b.rng.between(1, len(states) - 1)) % len(states)]!r}")
        if accs and b.rng.chance(0.6):
            updates.update(b, accs[0])


def moves(b: Builder) -> bool:
    """A position that the characters of a text move."""
    source = next((v for v in b.find((STR,)) if v.flavour in ("moves", "bits", "letters")), None)
    if source is None or b.left < 4 * source.size + 4:
        return False
    one, two = b.name(("x", "row", "pos")), b.name(("y", "col", "dist"))
    for name in (one, two):
        b.emit(f"{name} = 0")
        b.declare(Var(name, INT, -source.size * 2, source.size * 2))
    step = b.rng.pick(("c", "m", "move", "d"))
    step = b.name((step,))
    b.emit(f"for {step} in {ints.use(source).text}:")
    b.charge(0.7 * source.size, source.size)
    letters = b.rng.some(ALPHABETS[source.flavour], 4)
    arms = min(len(letters), b.rng.between(2, 4))
    with b.block(share=0.7 * source.size, worst=source.size, loop=True):
        b.declare(Var(step, CHAR, size=1, steady=True, flavour=source.flavour))
        for index in range(arms):
            if index == arms - 1 and b.rng.chance(0.6):
                b.note("else:")
            else:
                b.emit(f"{('if', 'elif')[index > 0]} {step} == {letters[index]!r}:")
            b.worst -= 0.5 * b.worst_mult
            with b.block(share=1 / arms, worst=0.4):
                name = (one, two, one, two)[index] if arms > 2 or b.rng.chance(0.5) else one
                b.emit(f"{name} {('+=', '+=', '-=', '-=')[index]} {b.rng.pick((1, 1, 1, 2))}")
    return True


def store(b: Builder) -> bool:
    """A level that goes up and down within bounds."""
    source = b.choose(INTS)
    if source is None or not source.size or b.left < 5 * source.size + 4:
        return False
    level = b.name(("level", "fuel", "hp", "water", "cash", "temp"))
    start = b.rng.between(0, 10)
    top = start + b.rng.between(5, 15)
    b.emit(f"{level} = {start}")
    var = b.declare(Var(level, INT, 0, top, steady=True))
    other = updates.accumulator(b, INT) if b.rng.chance(0.7) else None
    item = item_of(b, source)
    b.emit(f"for {item.name} in {ints.use(source).text}:")
    b.charge(0.7 * source.size, source.size)
    with b.block(share=0.7 * source.size, worst=source.size, loop=True):
        b.declare(item)
        b.focus = [item, var]
        if b.rng.chance(0.4):
            b.emit(f"{level} = max(0, min({top}, {level} + {item.name}))")
        else:
            b.emit(f"{level} {b.rng.pick(('+=', '-='))} {item.name}")
            bound(b, level, top)
        if other is not None:
            loops.conditional(b, other)
    var.steady = False
    return True


def bound(b: Builder, level: str, top: int) -> None:
    """Keep the level within its bounds, or stop."""
    b.emit(f"if {level} > {top}:")
    with b.block(share=0.3, worst=0.5):
        b.emit(f"{level} = {top}")
    b.emit(f"{'elif' if b.rng.chance(0.6) else 'if'} {level} < 0:")
    with b.block(share=0.3, worst=0.5):
        b.emit(b.rng.pick((f"{level} = 0", "break", f"{level} = 0")))


def matching(b: Builder) -> bool:
    """Brackets on a stack."""
    source = next((v for v in b.find((STR,)) if v.flavour == "brackets"), None)
    if source is None or b.left < 4 * source.size + 4:
        return False
    stack, char = b.name(("stack", "open", "st")), b.name(("c", "ch"))
    deep = b.rng.chance(0.5)
    b.emit(f"{stack} = []")
    if deep:
        depth = b.declare(Var(b.name(("depth", "most", "top")), INT, 0, source.size))
        b.emit(f"{depth.name} = 0")
    ok = b.declare(Var(b.name(("ok", "valid")), BOOL))
    b.emit(f"{ok.name} = True")
    b.emit(f"for {char} in {ints.use(source).text}:")
    b.charge(0.7 * source.size, source.size)
    with b.block(share=0.7 * source.size, worst=source.size, loop=True):
        b.emit(f"if {char} in '([':")
        with b.block(share=0.5, worst=0.6):
            b.emit(f"{stack}.append({char})")
            if deep:
                b.emit(f"{depth.name} = max({depth.name}, len({stack}))")
        b.emit(f"elif {stack}:" if b.rng.chance(0.6) else f"elif len({stack}) > 0:")
        with b.block(share=0.4, worst=0.5):
            b.emit(f"{stack}.pop()")
        b.note("else:")
        with b.block(share=0.1, worst=0.2):
            b.emit(f"{ok.name} = False")
            if b.rng.chance(0.6):
                b.emit("break")
    if b.rng.chance(0.5):
        b.emit(f"{ok.name} = {ok.name} and not {stack}")
    else:
        statements.local(b, ints.Expr(f"len({stack})", INT, 0, source.size))
    return True


def runs(b: Builder) -> bool:
    """Lengths of equal neighbours in a sequence."""
    source = b.choose(INTS, STR)
    if source is None or not source.size or b.left < 4 * source.size + 4:
        return False
    prev, run = b.name(("prev", "last")), b.name(("run", "streak", "length"))
    most = b.declare(Var(b.name(("best", "longest", "most")), INT, 0, source.size))
    b.emit(f"{prev}, {run}, {most.name} = None, 0, 0")
    item = item_of(b, source)
    b.emit(f"for {item.name} in {ints.use(source).text}:")
    b.charge(0.7 * source.size, source.size)
    rising = source.kind == INTS and b.rng.chance(0.5)
    with b.block(share=0.7 * source.size, worst=source.size, loop=True):
        test = f"{prev} is not None and {item.name} {b.rng.pick(('>', '>=', '<'))} {prev}"
        b.emit(f"if {test if rising else f'{item.name} == {prev}'}:")
        with b.block(share=0.4, worst=0.6):
            b.emit(f"{run} += 1")
        b.note("else:")
        with b.block(share=0.6, worst=0.7):
            b.emit(f"{run} = {b.rng.pick((1, 1, 0))}")
        if b.rng.chance(0.5):
            b.emit(f"{most.name} = max({most.name}, {run})")
        else:
            b.emit(f"if {run} > {most.name}:")
            with b.block(share=0.4, worst=0.6):
                b.emit(f"{most.name} = {run}")
        b.emit(f"{prev} = {item.name}")
    return True
