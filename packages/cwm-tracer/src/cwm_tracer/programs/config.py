"""Configurations of program sources, the components of the hook `cwm_programs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    from cwm_tracer.programs.program import Program

LEVELS = range(1, 6)


class GeneratedPrograms(ComponentConfig):
    """Programs made by the grammar-based generator."""

    seed: int = 0
    """First seed. Program number i of a difficulty comes from seed + i."""

    count: int = Field(default=1000, ge=0)
    """How many programs."""

    difficulty: int | str | dict[int, float] = 3
    """1 (straight-line arithmetic) to 5 (several functions and classes): one level, a range
    ("1-3", equal shares), or a mapping of levels to weights."""

    @field_validator("difficulty")
    @classmethod
    def _known_levels(cls, value: int | str | dict[int, float]) -> int | str | dict[int, float]:
        weights = mix(value)
        if any(level not in LEVELS for level in weights):
            raise ValueError(f"levels are 1 to 5, got {sorted(weights)}")
        if any(weight < 0 for weight in weights.values()) or sum(weights.values()) <= 0:
            raise ValueError("weights must be >= 0 and not all zero")
        return value

    def build(self) -> Iterable[Program]:
        """The programs, lazily; the same sequence for the same configuration."""
        return _Generated(self.seed, self.count, mix(self.difficulty))


class ProgramFile(ComponentConfig):
    """Programs out of a benchmark file, a JSON-lines file or a Python file."""

    path: Path
    """The file; `.gz` is decompressed."""

    format: Literal["auto", "python", "cruxeval", "humaneval", "mbpp", "cwm"] = "auto"
    """The format of the file; `auto` goes by its name and the fields of its first row."""

    limit: int | None = Field(default=None, ge=0)
    """Read at most so many programs; null for all."""

    entry: str | None = None
    """Python files: the function to run; null for the last one of the file."""

    inputs: tuple[str, ...] = ()
    """Python files: argument lists as source, such as "[1, 2], k=3"; empty for those it has."""

    def build(self) -> Iterable[Program]:
        """The programs, read anew on every iteration. Raises DataError for a bad file."""
        return _File(self)


def mix(difficulty: int | str | dict[int, float]) -> dict[int, float]:
    """Weights by level. Raises ValueError for a text that is neither "3" nor "1-3"."""
    if isinstance(difficulty, dict):
        return dict(sorted(difficulty.items()))
    if isinstance(difficulty, int):
        return {difficulty: 1.0}
    low, _, high = difficulty.partition("-")
    try:
        levels = range(int(low), int(high or low) + 1)
    except ValueError:
        raise ValueError(f'difficulty must look like 3 or "1-3", got {difficulty!r}') from None
    if not levels:
        raise ValueError(f"empty range of difficulties {difficulty!r}")
    return dict.fromkeys(levels, 1.0)


class _Generated:
    """A re-iterable sequence of generated programs, levels interleaved by weight."""

    def __init__(self, seed: int, count: int, weights: dict[int, float]) -> None:
        self._seed, self._count = seed, count
        self._weights = {level: weight for level, weight in weights.items() if weight > 0}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Program]:
        from cwm_tracer.programs.generator import generate

        total = sum(self._weights.values())
        made = dict.fromkeys(self._weights, 0)
        for index in range(self._count):
            # The level that is furthest behind its share comes next.
            level = max(made, key=lambda d: (index + 1) * self._weights[d] / total - made[d])
            yield generate(self._seed + made[level], level)
            made[level] += 1


class _File:
    """A re-iterable program file."""

    def __init__(self, config: ProgramFile) -> None:
        self._config = config

    def __iter__(self) -> Iterator[Program]:
        from cwm_tracer.programs.benchmark_files import read_programs

        c = self._config
        return read_programs(c.path, c.format, c.limit, c.entry, c.inputs)
