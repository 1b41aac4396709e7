"""Configuration of `cwm trace tests`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from cwm_core.config import CommandConfig, Slot
from cwm_core.plugins import ComponentConfig
from cwm_tracer.collect.config import DropConfig, SplitConfig

NO_TESTS = (
    "test_*.py",
    "*_test.py",
    "conftest.py",
    "tests/*",
    "test/*",
    "docs/*",
    "doc/*",
    "examples/*",
    "benchmarks/*",
    "setup.py",
    "noxfile.py",
)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SamplingConfig(_Section):
    """Which calls become traces, and how much of each is recorded."""

    seed: int = 0
    """Chooses among the calls."""
    probability: float = Field(default=1.0, gt=0, le=1)
    """Chance of each call of the repository's functions to be considered as a trace's root."""
    quota: int = Field(default=4, ge=1)
    """Traces per function and test file, spread evenly over its calls."""
    per_function: int | None = Field(default=64, ge=1)
    """Most traces of a function in the whole run; null: any number."""
    depth: int = Field(default=2, ge=0)
    """Most calls below the root that are shown; deeper ones are stepped over."""
    step_in: float = Field(default=0.5, ge=0, le=1)
    """Chance of each call within the depth to be shown; the others are stepped over."""
    events: int = Field(default=2000, ge=1)
    """Most events of a trace; a longer one is cut off."""
    trace_bytes: int = Field(default=256 << 10, ge=4096)
    """Most characters of a trace, changed values only; a larger one is cut off."""
    test_events: int = Field(default=20_000, ge=1)
    """Events from which on the rest of a test runs unrecorded."""
    patience: int = Field(default=50_000, ge=1)
    """Calls in a row that begin no trace, after which the rest of a test runs unrecorded: watching
    a call costs about as much as a small call itself."""
    process_events: int = Field(default=500_000, ge=1)
    """Events from which on the rest of a test process runs unrecorded."""
    process_bytes: int = Field(default=64 << 20, ge=1 << 16)
    """Bytes from which on the rest of a test process runs unrecorded."""


class ValuesConfig(_Section):
    """How much of each value is shown; the rest is marked `<+N more>`."""

    value_bytes: int = Field(default=2048, ge=64)
    """Most characters of one value, about."""
    value_nodes: int = Field(default=512, ge=8)
    """Most items and nested items of one value."""
    value_depth: int = Field(default=8, ge=1, le=100)
    """Most containers inside one another."""


class TestsConfig(CommandConfig):
    """Run a repository's test suite in a sandbox; cut function traces out of the test runs."""

    __test__: ClassVar[bool] = False
    may_change: ClassVar[frozenset[str]] = frozenset({"out", "workers", "executor"})

    out: Path
    """Run directory; the shards go to its `traces`."""
    repository: str
    """A directory, an archive (an sdist: `.tar.gz`), or the URL of a git repository."""
    revision: str = ""
    """Branch or tag of a git URL; empty: its default branch."""
    python: str | None = None
    """Interpreter that has pytest and what the tests need, 3.8 or later; null: the one that runs
    this command."""
    install: str = ""
    """Shell command, run once in the repository, such as `pip install --no-index -e .`."""
    pythonpath: tuple[str, ...] = ("src", ".")
    """Directories of the repository to put on `PYTHONPATH`, as far as they exist."""
    arguments: tuple[str, ...] = ()
    """Further arguments of pytest."""
    files: tuple[str, ...] = ()
    """Test files or directories of the repository; empty: what pytest collects by itself."""
    include: tuple[str, ...] = ("*.py",)
    """Patterns of the files whose functions are traced; a path's end may match after a slash."""
    exclude: tuple[str, ...] = NO_TESTS
    """Patterns of files whose functions are not traced, but stepped over."""
    timeout_s: float = Field(default=900.0, gt=0)
    """Most seconds for one test file, and for the installation."""
    sampling: SamplingConfig = SamplingConfig()
    """Which calls become traces, and how much of each is recorded."""
    values: ValuesConfig = ValuesConfig()
    """How much of each value is shown."""
    sandbox: Annotated[ComponentConfig, Slot("sandboxes", default="local")]
    """Where the tests run."""
    split: SplitConfig = SplitConfig()
    """Which side of the split a function goes to; `auto` and `fractions`: by function."""
    drop: DropConfig = DropConfig()
    """Which traces are left out."""
    exclude_traces: tuple[Path, ...] = ()
    """Trace shards or run directories whose functions, and near-duplicates, are left out."""
    executor: Annotated[ComponentConfig, Slot("executors", default="local")]
    """What runs test files side by side, each worker in a sandbox of its own."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes on this machine; null: one per usable core."""
    rows_per_shard: int = Field(default=4096, ge=1)
    """Traces per Parquet file."""

    def runtime_settings(self, root: str, *, trace: bool) -> dict[str, Any]:
        """Return the settings of the injected runtime; `root` is its directory in the sandbox."""
        sampling = self.sampling
        return {
            "trace": trace,
            "index": f"{root}/index",
            "out": f"{root}/out",
            "seed": sampling.seed,
            "probability": sampling.probability,
            "quota": sampling.quota,
            "depth": sampling.depth,
            "step_in": sampling.step_in,
            "events": sampling.events,
            "bytes": sampling.trace_bytes,
            "patience": sampling.patience,
            "test_events": sampling.test_events,
            "process_events": sampling.process_events,
            "stream_bytes": sampling.process_bytes,
            "values": self.values.model_dump(),
        }
