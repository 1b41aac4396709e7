"""A program being written: its top-level definitions and the names they take."""

from collections.abc import Callable
from dataclasses import dataclass, field

from cwm_tracer.programs.generator.builder import Builder
from cwm_tracer.programs.generator.kinds import Func, Var
from cwm_tracer.programs.generator.knobs import HELPER_KNOBS, Knobs
from cwm_tracer.programs.generator.rng import Rng

Phase = Callable[[Builder], bool]


@dataclass(slots=True)
class Draft:
    """What helpers, classes and the entry function of one program share."""

    rng: Rng
    knobs: Knobs
    defs: list[str] = field(default_factory=list)
    funcs: list[Func] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def builder(self, depth: int = 1, small: bool = True) -> Builder:
        """A builder for one function of this program; `small` for a helper."""
        knobs = HELPER_KNOBS[self.knobs.difficulty] if small else self.knobs
        b = Builder(self.rng, knobs, depth)
        b.taken |= self.names
        b.funcs = list(self.funcs)
        return b

    def name(self, pool: tuple[str, ...]) -> str:
        """A top-level name that is not taken yet."""
        free = [name for name in pool if name not in self.names] or [f"{n}2" for n in pool]
        name = self.rng.pick(free)
        self.names.add(name)
        return name

    def define(self, head: str, b: Builder) -> None:
        """Add a top-level function."""
        self.defs.append("\n".join([head, *b.lines]))


def signature(name: str, params: list[Var]) -> str:
    """The `def` line of a function."""
    return f"def {name}({', '.join(var.name for var in params)}):"
