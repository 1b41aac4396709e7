"""Where a session stops by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cwm_tracer.debug.evaluate import EvaluationError, evaluate, holds
from cwm_tracer.debug.story import DebugError

_HIT = re.compile(r"\s*(==|>=|<=|>|<|%)?\s*(\d+)\s*$")


@dataclass(slots=True)
class Breakpoint:
    """A stop at a line, or at the call of a function, where the condition holds."""

    line: int = 0
    """1-based; 0 for a breakpoint at a function."""
    function: str = ""
    condition: str = ""
    """Expression over the locals; one that cannot be evaluated stops, too, and says so."""
    hit_condition: str = ""
    """Which of the times counts: ``3`` (the third), ``>= 3``, ``% 3`` (every third)."""
    log_message: str = ""
    """Instead of stopping, this is shown, with ``{expressions}`` filled in."""
    hits: int = 0

    def __post_init__(self) -> None:
        if self.hit_condition and not _HIT.match(self.hit_condition):
            raise DebugError(
                f"hit condition {self.hit_condition!r} is none", "write 3, >= 3 or % 3"
            )

    def meets(self, state: Mapping[str, str]) -> bool:
        """Whether this time counts; counts it."""
        if self.condition:
            try:
                if not holds(self.condition, state):
                    return False
            except EvaluationError:
                pass
        self.hits += 1
        return self._counts()

    def _counts(self) -> bool:
        found = _HIT.match(self.hit_condition) if self.hit_condition else None
        if found is None:
            return True
        number = int(found[2])
        match found[1] or "==":
            case "==":
                return self.hits == number
            case ">=":
                return self.hits >= number
            case "<=":
                return self.hits <= number
            case ">":
                return self.hits > number
            case "<":
                return self.hits < number
            case _:
                return number > 0 and self.hits % number == 0

    def message(self, state: Mapping[str, str]) -> str:
        """Fill in the expressions of the log message."""

        def filled(found: re.Match[str]) -> str:
            try:
                return evaluate(found[1], state)
            except EvaluationError as error:
                return f"<{error.message}>"

        return re.sub(r"\{([^{}]+)\}", filled, self.log_message)


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

    def forget_hits(self) -> None:
        """Count from the beginning again."""
        for each in (*self.lines.values(), *self.functions.values()):
            each.hits = 0
