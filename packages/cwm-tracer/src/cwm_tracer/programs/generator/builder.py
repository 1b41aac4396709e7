"""The state of one function being written: its scope, its lines and what running them costs."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from cwm_tracer.programs.generator.kinds import Func, Var
from cwm_tracer.programs.generator.knobs import Knobs
from cwm_tracer.programs.generator.rng import Rng

WORD = re.compile(r"[A-Za-z_]\w*")


@lru_cache(maxsize=4096)
def words(text: str) -> frozenset[str]:
    """The names and words in a piece of source."""
    return frozenset(WORD.findall(text))


def shared(one: str, two: str) -> bool:
    """Do two pieces of source use a common name?"""
    return not words(one).isdisjoint(words(two))


class Builder:
    """Writes one function.

    `cost` is the expected and `worst` the highest number of trace events of one call; a block that
    runs n times multiplies what is emitted inside it.
    """

    def __init__(self, rng: Rng, knobs: Knobs, depth: int = 1) -> None:
        self.rng = rng
        self.knobs = knobs
        self.depth = depth
        self.lines: list[str] = []
        self.vars: list[Var] = []
        self.taken: set[str] = set()
        self.focus: list[Var] = []
        self.held: list[Var] = []  # what open loops run over: not to be changed
        self.funcs: list[Func] = []
        self.ret = ""  # the kind that the function returns
        self.left_early = False  # a return of kind `ret` is written already
        self.risky = False  # inside a try block: raising helpers may be called
        self.blocks = 0
        self.loops = 0
        self.mult = 1.0
        self.worst_mult = 1.0
        self.cost = 2.0  # call and return
        self.worst = 2.0

    def emit(self, text: str) -> None:
        """Add one line at the present indentation and count its events."""
        self.lines.append("    " * self.depth + text)
        self.cost += self.mult
        self.worst += self.worst_mult

    def note(self, text: str) -> None:
        """Add a line that costs no event of its own (`else:`, `try:`)."""
        self.lines.append("    " * self.depth + text)

    def charge(self, cost: float, worst: float) -> None:
        """Count events that an expression in the present block causes elsewhere."""
        self.cost += cost * self.mult
        self.worst += worst * self.worst_mult

    def drop_twin(self, one: int, two: int) -> None:
        """Remove the arm whose header is line `two` if it does what the arm from `one` does."""
        if one < two and self.lines[one + 1 : two] == self.lines[two + 1 :]:
            del self.lines[two:]

    def mentions(self, name: str, since: int = 0) -> bool:
        """Does any line from number `since` on use the name?"""
        return any(name in line and name in words(line) for line in self.lines[since:])

    def read(self, var: Var) -> bool:
        """Is the variable's value used on a line after the last one that sets it?

        Setting lines that also read it (`x += 1`) do not count as use.
        """
        start = f"{var.name} "
        name = var.name
        for line in reversed(self.lines):
            if name in line and (name in words(line) or not name.isidentifier()):
                text = line.lstrip()
                return not text.startswith((start, f"{var.name}.", f"{var.name}["))
        return False

    @property
    def left(self) -> float:
        """Events still affordable in the present block, per run of the block."""
        return (self.knobs.worst - self.worst) / self.worst_mult

    @contextmanager
    def block(self, share: float = 1.0, worst: float = 1.0, loop: bool = False) -> Iterator[None]:
        """An indented block that runs `share` (at most `worst`) times per run of its parent.

        Variables that are declared inside are forgotten at its end.
        """
        kept = (self.mult, self.worst_mult, len(self.vars), self.focus, self.held)
        self.depth += 1
        self.blocks += 1
        self.loops += loop
        self.mult *= share
        self.worst_mult *= worst
        yield
        self.depth -= 1
        self.blocks -= 1
        self.loops -= loop
        self.mult, self.worst_mult = kept[0], kept[1]
        del self.vars[kept[2] :]
        self.focus, self.held = kept[3], kept[4]

    def hold(self, *held: Var | None) -> None:
        """Forbid changes of the variables until the present block ends."""
        self.held = [*self.held, *(var for var in held if var is not None)]

    def name(self, pool: Sequence[str]) -> str:
        """A name from the pool that this function does not use yet."""
        start = self.rng.below(len(pool))
        for offset in range(len(pool)):
            name = pool[(start + offset) % len(pool)]
            if name not in self.taken:
                self.taken.add(name)
                return name
        stem, number = pool[start], 2
        while f"{stem}{number}" in self.taken:
            number += 1
        self.taken.add(f"{stem}{number}")
        return f"{stem}{number}"

    def declare(self, var: Var) -> Var:
        """Bring a variable into scope."""
        var.mult = self.worst_mult
        self.taken.add(var.name)
        self.vars.append(var)
        return var

    def find(self, kinds: Sequence[str]) -> list[Var]:
        """The variables of one of the kinds, oldest first."""
        return [var for var in self.vars if var.kind in kinds]

    def choose(self, *kinds: str) -> Var | None:
        """A variable of one of the kinds: in focus, or not used yet, or any."""
        near = [var for var in self.focus if var.kind in kinds]
        if near and self.rng.chance(0.72):
            return self.rng.pick(near)
        found = self.find(kinds)
        if not found:
            return None
        fresh = [var for var in found if not var.uses]
        pool = fresh if fresh and self.rng.chance(0.6) else found
        return self.rng.pick(pool)
