"""What each difficulty means, in one table."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Knobs:
    """Sizes and shares for one difficulty."""

    difficulty: int
    events: int
    """Median number of trace events (call, line, return, exception) that is aimed at."""
    aim: int
    """Expected events, by the static estimate, at which a program is long enough."""
    worst: int
    """Upper limit of the static estimate of the events; larger programs are drawn again."""
    phases: int
    """Most phases (top-level shapes) in the entry function."""
    depth: int
    """Nesting of operators in one expression."""
    nesting: int
    """Nesting of blocks in one function."""
    length: int
    """Longest list in an input."""
    text: int
    """Longest string in an input."""
    value: int
    """Largest absolute value of an int in an input."""
    limit: int
    """Largest absolute value that expressions aim to stay below."""
    nested: float
    """Probability of a loop in a loop, where there is room."""
    features: tuple[tuple[float, int], ...]
    """Weights of having 0, 1, 2, ... features (helper, closure, recursion, class, ...)."""
    inputs: int
    """Most inputs per program."""


KNOBS: dict[int, Knobs] = {
    1: Knobs(1, 8, 5, 20, 2, 1, 1, 2, 3, 6, 20, 0, ((1, 0),), 2),
    2: Knobs(2, 12, 10, 32, 3, 1, 2, 3, 4, 8, 30, 0, ((8, 0), (2, 1)), 3),
    3: Knobs(3, 16, 17, 45, 3, 1, 2, 4, 5, 9, 40, 0.1, ((4, 0), (6, 1)), 3),
    4: Knobs(4, 25, 32, 68, 5, 2, 2, 5, 7, 20, 150, 0.14, ((3, 0), (7, 1)), 3),
    5: Knobs(5, 45, 74, 104, 6, 2, 3, 6, 10, 40, 500, 0.14, ((5, 1), (5, 2)), 3),
}


def _helper(knobs: Knobs) -> Knobs:
    small = max(8, knobs.worst // 6)
    return replace(
        knobs,
        worst=small,
        phases=1,
        depth=min(2, knobs.depth),
        length=3,
        text=5,
        nesting=max(1, knobs.nesting - 1),
    )


HELPER_KNOBS: dict[int, Knobs] = {level: _helper(knobs) for level, knobs in KNOBS.items()}
"""The same for helper functions, whose cost counts on every call."""
