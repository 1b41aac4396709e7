"""Where a session stops by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby

from cwm_tracer.debug.evaluate import EvaluationError, Expression, evaluate
from cwm_tracer.debug.places import Places, between
from cwm_tracer.debug.story import DebugError

_HIT = re.compile(r"\s*(==|>=|<=|>|<|%)?\s*(\d+)\s*$")


@dataclass(slots=True)
class Breakpoint:
    """A stop at a line, or at the call of a function, where the condition holds."""

    line: int = 0
    """1-based; 0 for a breakpoint at a function."""
    function: str = ""
    condition: str = ""
    """Expression over the locals; where it cannot be evaluated is a stop, too."""
    hit_condition: str = ""
    """Which of the times counts: ``3`` (the third), ``>= 3``, ``% 3`` (every third)."""
    log_message: str = ""
    """Instead of stopping, this is shown, with ``{expressions}`` filled in."""
    hits: int = 0
    problem: str = ""
    """Why the condition could not be evaluated, the last time."""
    _wanted: Expression | None = field(init=False, default=None)
    _relation: tuple[str, int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Raises `DebugError` or `EvaluationError` for a condition that is none."""
        self._wanted = Expression(self.condition) if self.condition else None
        if not self.hit_condition:
            return
        found = _HIT.match(self.hit_condition)
        if found is None:
            raise DebugError(
                f"hit condition {self.hit_condition!r} is none", "write 3, >= 3 or % 3"
            )
        self._relation = found[1] or "==", int(found[2])

    def meets(self, state: Mapping[str, str]) -> bool:
        """Whether this time counts; counts it."""
        self.problem = ""
        if self._wanted is not None:
            try:
                if not self._wanted.holds(state):
                    return False
            except EvaluationError as error:
                self.problem = error.message
        self.hits += 1
        return self._relation is None or _counts(self.hits, *self._relation)

    def message(self, state: Mapping[str, str]) -> str:
        """Fill in the expressions of the log message."""

        def filled(found: re.Match[str]) -> str:
            try:
                return evaluate(found[1], state)
            except EvaluationError as error:
                return f"<{error.message}>"

        return re.sub(r"\{([^{}]+)\}", filled, self.log_message)


def _counts(hits: int, relation: str, number: int) -> bool:
    match relation:
        case "==":
            return hits == number
        case ">=":
            return hits >= number
        case "<=":
            return hits <= number
        case ">":
            return hits > number
        case "<":
            return hits < number
        case _:
            return number > 0 and hits % number == 0


@dataclass(slots=True)
class Stops:
    """Everything that ends a `continue`."""

    lines: dict[int, Breakpoint] = field(default_factory=dict)
    functions: dict[str, Breakpoint] = field(default_factory=dict)
    watched: set[str] = field(default_factory=set)
    """Locals whose change is a stop."""
    exceptions: bool = False
    divergences: bool = False
    """Stop where the prediction of an event differs from what was executed."""

    def candidates(self, places: Places, start: int, end: int) -> Iterator[int]:
        """Yield the events strictly between two, from `start` on, where a line, function or
        exception may be a stop."""
        known = [places.line(number) for number in self.lines]
        known += [places.calls(name) for name in self.functions]
        known += [places.exceptions] if self.exceptions else []
        each = [between(one, start, end) for one in known]
        return (index for index, _ in groupby(merge(*each, reverse=end < start)))

    def forget_hits(self) -> None:
        """Count from the beginning again."""
        for each in (*self.lines.values(), *self.functions.values()):
            each.hits = 0
