"""Configuration of `cwm trace` when it writes shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cwm_core.config import CommandConfig, Slot
from cwm_core.plugins import ComponentConfig
from cwm_tracer.capture.limits import Limits


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SplitConfig(_Section):
    """Which side of the split a program goes to; near-duplicates never cross it."""

    side: Literal["auto", "fractions", "train", "validation", "test"] = "auto"
    """All programs to one side, or `fractions` by program; `auto`: files (`programs=file`) to test,
    everything else by fractions."""
    validation: float = Field(default=0.05, ge=0, lt=1)
    """Share of programs held out for validation."""
    test: float = Field(default=0.05, ge=0, lt=1)
    """Share of programs held out for testing."""
    seed: int = 0
    """Chooses which programs are held out."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity from which two programs are near-duplicates."""

    @model_validator(mode="after")
    def _leaves_room(self) -> SplitConfig:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test must leave room for training programs")
        return self


class DropConfig(_Section):
    """Which executions are left out of the shards; each is counted, and listed in dropped.jsonl."""

    incomplete: bool = True
    """Those cut off by a limit, a crash or an error before the entry was called."""
    max_events: int | None = Field(default=10_000, ge=1)
    """Those with more events; null: keep all."""
    max_lines: int | None = Field(default=None, ge=1)
    """Those with more line events; null: keep all."""
    max_bytes: int | None = Field(default=1 << 20, ge=1)
    """Those whose frames, diff-coded, take more characters; null: keep all."""
    elided: bool = False
    """Those with a value that was too large to be shown whole."""


class WorkersConfig(CommandConfig):
    """What every command that has work done by an executor has in common."""

    may_change: ClassVar[frozenset[str]] = frozenset({"out", "workers", "executor", "batch"})

    out: Path
    """Run directory; the shards go to a directory in it."""
    executor: Annotated[ComponentConfig, Slot("executors", default="local")]
    """Where the work is done."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes on this machine; null: one per usable core."""
    batch: int = Field(default=32, ge=1)
    """Items handed to a worker at a time."""
    rows_per_shard: int = Field(default=4096, ge=1)
    """Rows per Parquet file."""


class ShardsConfig(WorkersConfig):
    """What every command that writes trace shards has in common."""

    tracer: Annotated[ComponentConfig, Slot("tracers", default="settrace")]
    """What records them."""
    limits: Limits = Limits()
    """What each execution may use."""
    split: SplitConfig = SplitConfig()
    """Which side of the split a program goes to."""
    drop: DropConfig = DropConfig()
    """Which executions are left out."""
    exclude: tuple[Path, ...] = ()
    """Trace shards or run directories whose programs, and their near-duplicates, are left out."""
    inputs_per_program: int | None = Field(default=None, ge=1)
    """Most argument lists per program; null: all that it comes with."""


class TraceConfig(ShardsConfig):
    """Run programs, record them, write trace shards."""

    programs: Annotated[ComponentConfig, Slot("programs", default="generated")]
    """Where programs come from."""
