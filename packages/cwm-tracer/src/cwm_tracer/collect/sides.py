"""Which side of the split each program goes to, with memory only for what is held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from cwm_core.data.shards import read_shards
from cwm_core.trace.frames import START_OF_TRACE
from cwm_tracer.collect.config import SplitConfig
from cwm_tracer.programs.near_duplicates import HeldOut, near_duplicates_of
from cwm_tracer.programs.normal_form import NormalForm
from cwm_tracer.programs.program import Program
from cwm_tracer.programs.split import side_of

DUPLICATE = "duplicate"
NEAR_HELD_OUT = "near_duplicate_of_held_out"
EXCLUDED = "near_duplicate_of_excluded"


class Sides:
    """Assigns programs to sides; says of each that is left out why.

    By fractions, a program's side is a hash of its normal form and the seed, so it does not depend
    on the other programs. Held-out programs are gathered in a first pass over the source; in the
    second, training programs that resemble a held-out one are left out, as are validation programs
    that resemble a test program.
    """

    def __init__(self, config: SplitConfig, fractions: bool, exclude: Iterable[Path]) -> None:
        self._config = config
        self._fractions = fractions
        self._test: HeldOut | None = None
        self._validation: HeldOut | None = None
        excluded = [program for path in exclude for program in _programs_in(path)]
        self._excluded = near_duplicates_of(excluded, config.threshold) if excluded else None
        self._seen: set[str] = set()

    def look_ahead(self, programs: Iterable[Program]) -> None:
        """Gather the held-out programs of a source that can be read again."""
        if not self._fractions or not (self._config.validation or self._config.test):
            return
        held_out: dict[str, list[Program]] = {"validation": [], "test": []}
        for program in programs:
            side = self._side(program)
            if side != "train":
                held_out[side].append(program)
        self._test = near_duplicates_of(held_out["test"], self._config.threshold)
        self._validation = near_duplicates_of(held_out["validation"], self._config.threshold)

    def assign(self, programs: Iterable[Program]) -> Iterator[tuple[Program, str, str | None]]:
        """Yield each program with its side and, if it is left out, the reason."""
        for program in programs:
            side = self._side(program)
            yield program, side, self._objection(program, side)

    def _side(self, program: Program) -> str:
        if not self._fractions:
            return "test" if self._config.side == "auto" else self._config.side
        digest = program.group or NormalForm(program.source).digest
        return side_of(digest, self._config.seed, self._config.validation, self._config.test)

    def _objection(self, program: Program, side: str) -> str | None:
        if program.id in self._seen:
            return DUPLICATE
        self._seen.add(program.id)
        if self._excluded is not None and self._excluded.resembles(program):
            return EXCLUDED
        held_out = {"train": (self._test, self._validation), "validation": (self._test,)}
        for index in held_out.get(side, ()):
            if index is not None and index.resembles(program):
                return NEAR_HELD_OUT
        return None


def shards_of(path: Path) -> Path:
    """Return the shards of a run directory, or the path itself."""
    inner = path / "traces"
    return inner if inner.is_dir() else path


def _programs_in(path: Path) -> Iterator[Program]:
    seen: set[str] = set()
    for row in read_shards(shards_of(path), ["program_id", "context", "entry", "input"]):
        if row["program_id"] not in seen:
            seen.add(row["program_id"])
            source = row["context"].replace(f"  {START_OF_TRACE}", "")
            yield Program(row["program_id"], source, row["entry"], (row["input"],))
