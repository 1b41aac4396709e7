"""Configuration of `cwm trace contest`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cwm_tracer.capture.limits import Limits
from cwm_tracer.collect.config import DropConfig, ShardsConfig


class ContestConfig(ShardsConfig):
    """Run solutions of programming contests on their problems' tests; write labelled traces."""

    data: Path
    """Problems in the schema of CodeContests: a Parquet or JSON-lines file (`.gz` too), or a
    directory of such."""
    languages: tuple[Literal["python2", "python3"], ...] = ("python3",)
    """Solutions in these languages are run, all by this interpreter."""
    limit: int | None = Field(default=None, ge=1)
    """Most problems; null: all."""
    solutions_per_problem: int | None = Field(default=4, ge=1)
    """Most correct solutions per problem, drawn by `seed`, and most incorrect ones; null: all."""
    tests: tuple[Literal["public", "private", "generated"], ...] = (
        "public",
        "private",
        "generated",
    )
    """The tests that solutions are run on."""
    tests_per_solution: int | None = Field(default=3, ge=1)
    """Most tests per solution, drawn by `seed`; null: all."""
    max_input: int = Field(default=2000, ge=1)
    """Tests with more characters of input are not run: a trace shows the whole input."""
    incorrect_per_correct: float | None = Field(default=1.0, ge=0)
    """Traces of wrong runs per trace of a right one; null: whatever there is."""
    only_failing: bool = True
    """Of incorrect solutions, keep only the runs whose output is wrong, or that raise."""
    float_tolerance: float | None = Field(default=None, ge=0)
    """Numbers count as equal within this error, absolute or relative; null: as texts."""
    seed: int = 0
    """Draws solutions and tests."""
    limits: Limits = Limits(steps=50_000)
    """What each execution may use."""
    drop: DropConfig = DropConfig(max_events=None, max_lines=10_000)
    """Which executions are left out."""
