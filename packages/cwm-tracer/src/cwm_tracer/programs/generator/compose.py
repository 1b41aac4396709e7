"""Whole programs: parameters, phases, return, inputs."""

from cwm_tracer.programs.generator import (
    exceptions,
    features,
    inputs,
    loops,
    machines,
    returns,
    statements,
    whiles,
)
from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.draft import Draft, Phase, signature
from cwm_tracer.programs.generator.kinds import (
    BOOL,
    GRID,
    INT,
    INTS,
    PAIRS,
    STR,
    STRS,
    TALLY,
    Var,
)
from cwm_tracer.programs.generator.knobs import KNOBS, Knobs
from cwm_tracer.programs.generator.names import FUNCTIONS
from cwm_tracer.programs.generator.rng import Rng
from cwm_tracer.programs.program import Program

# weight, least difficulty, phase
PHASES: tuple[tuple[float, int, Phase], ...] = (
    (8, 1, loops.for_loop),
    (7, 1, statements.assign),
    (2, 1, statements.branch_value),
    (2.5, 1, statements.branch_update),
    (1, 1, statements.reassign),
    (0.7, 1, statements.swap),
    (1.5, 1, statements.both_values),
    (1.2, 2, statements.unpack),
    (1.2, 2, statements.mutate_list),
    (0.6, 2, statements.pop_guarded),
    (0.5, 2, statements.letter),
    (0.8, 2, returns.guard),
    (1, 1, whiles.countdown),
    (0.8, 1, whiles.digits),
    (0.8, 1, whiles.growth),
    (1, 2, whiles.two_pointers),
    (0.8, 3, whiles.queue),
    (1.6, 2, whiles.search),
    (3, 2, whiles.scan_texts),
    (0.8, 3, machines.state_machine),
    (2.5, 2, machines.moves),
    (0.9, 2, machines.store),
    (6, 3, machines.matching),
    (0.7, 2, machines.runs),
    (1.2, 2, exceptions.guarded),
    (0.5, 2, exceptions.raising),
)
TABLES = {
    level: [(weight, phase) for weight, least, phase in PHASES if least <= level] for level in KNOBS
}
PARAM_KINDS = {
    1: ((8, INT), (1, INTS)),
    2: ((6, INT), (4, INTS), (2.5, STR)),
    3: ((5, INT), (5, INTS), (3, STR), (1, STRS), (0.7, TALLY), (0.5, BOOL)),
    4: ((5, INT), (5, INTS), (3, STR), (1, STRS), (1, TALLY), (0.5, BOOL), (1, PAIRS), (1, GRID)),
    5: ((5, INT), (5, INTS), (3, STR), (1, STRS), (1, TALLY), (0.5, BOOL), (1, PAIRS), (1, GRID)),
}


def parameters(b: Builder) -> list[Var]:
    """One to three parameters of the entry function."""
    count = b.rng.weighted(((4, 1), (5, 2), (1.5, 3)))
    kinds = [b.rng.weighted(PARAM_KINDS[b.knobs.difficulty]) for _ in range(count)]
    if kinds == [BOOL]:
        kinds = [INT, BOOL]
    made = [inputs.param(b, kind) for kind in kinds]
    if all(var.kind == INT for var in made) and not any(var.hi <= 7 for var in made):
        made[0].hi = min(made[0].hi, b.knobs.length + 3)
    for var in made:
        b.declare(var)
    return made


def body(b: Builder, planned: list[Phase]) -> None:
    """The planned phases and others until the aimed cost is reached, then the return."""
    knobs, rng = b.knobs, b.rng
    aim = knobs.aim * rng.uniform(0.75, 1.35)
    table = TABLES[knobs.difficulty]
    last: Phase | None = None
    done = 0
    if rng.chance(0.3 if planned else 0):
        done += rng.pick((statements.assign, returns.guard))(b)
    for phase in planned:
        done += phase(b)
    for _ in range(4 * knobs.phases):
        if done >= knobs.phases or b.cost >= 0.85 * aim or b.left < 4:
            break
        phase = rng.weighted(table)
        if phase is last and phase not in (loops.for_loop, statements.assign):
            continue
        if phase(b):
            done, last = done + 1, phase
    if knobs.difficulty > 1 and rng.chance(0.12):
        returns.conditional(b)
    returns.settle(b)
    returns.final(b)


def candidate(rng: Rng, knobs: Knobs) -> tuple[str, str, tuple[str, ...], Builder]:
    """Source, entry name and inputs of one candidate, with its builder's cost."""
    draft = Draft(rng, knobs)
    planned = features.features(draft)
    b = draft.builder(small=False)
    b.ret = INT if knobs.difficulty == 1 else rng.weighted(returns.ENTRY_KINDS)
    name = draft.name(FUNCTIONS)
    b.taken.add(name)
    params = parameters(b)
    body(b, planned)
    params = [var for var in params if b.mentions(var.name)]
    draft.define(signature(name, params), b)
    source = "\n\n\n".join(draft.defs) + "\n"
    count = knobs.inputs if rng.chance(0.75) else 2
    given = inputs.argument_lists(rng, knobs, params, count) if params else ()
    return source, name, given, b


def generate(seed: int, difficulty: int) -> Program:
    """The program of a seed and a difficulty (1..5): a pure function of both.

    Raises ValueError for a difficulty outside 1..5.
    """
    if difficulty not in KNOBS:
        raise ValueError(f"difficulty must be 1..5, got {difficulty!r}")
    knobs = KNOBS[difficulty]
    rng = Rng(f"{difficulty}:{seed}")
    while True:
        source, entry, arguments, b = candidate(rng, knobs)
        if b.worst <= knobs.worst and arguments:
            return Program.of(
                source,
                entry,
                arguments,
                difficulty=difficulty,
                origin=f"generated:{difficulty}:{seed}",
            )
