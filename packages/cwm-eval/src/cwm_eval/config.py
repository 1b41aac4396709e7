"""Configuration of `cwm eval`; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, Slot


class GradeConfig(CommandConfig):
    """Grade answers that were written elsewhere."""

    may_change: ClassVar[frozenset[str]] = frozenset({"out", "concurrency", "label"})

    out: Path
    """Run directory."""
    benchmark: Annotated[ComponentConfig, Slot("benchmarks")]
    """What the answers are to."""
    answers: Path
    """The answers: ``{id: [text, ...]}``, ``[{question_id, code_list}]``, or JSON lines with
    ``task_id`` and ``completion``."""
    grade_as: Literal["answer", "bare"] = "answer"
    """What the texts are: replies of a model, or a bare expression, call, program or completion."""
    concurrency: int = Field(default=64, ge=1)
    """Answers that are graded at the same time; the grader's own limit holds besides."""
    label: str = ""
    """What reports call this run."""


class BestConfig(CommandConfig):
    """Choose among several answers to each problem without knowing which are right."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"out", "concurrency", "retries", "failures", "label", "cache"}
    )

    out: Path
    """Run directory."""
    run: Path
    """Finished run with several answers per problem: of `cwm eval` or `cwm eval grade`."""
    ks: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Choose among so many answers; by default powers of two up to all."""
    existing: bool = True
    """Run the tests that the questions show."""
    tests: Path | None = None
    """Tests that were written elsewhere: JSON lines with ``task_id`` and ``tests``."""
    engine: Annotated[ComponentConfig | None, Slot("engines", default=None)]
    """Who writes tests and predicts executions; may be another model than the run's."""
    generate: int = Field(default=0, ge=0)
    """Ask the engine so many times for tests of a problem; the paper has 40 tests."""
    tests_per_request: int = Field(default=5, ge=1)
    """Tests that are asked for at a time."""
    verify: bool = False
    """Let the engine predict what each program does with the examples that the question shows."""
    temperature: float = Field(default=1.0, ge=0.0)
    """Of generated tests; predicted executions are greedy."""
    top_p: float = Field(default=0.95, gt=0.0, le=1.0)
    """Sample among the most likely tokens that make up this probability."""
    max_new_tokens: int = Field(default=2048, ge=1)
    """Length of one text with tests, and of one predicted execution."""
    seed: int = 0
    """Draws generated tests."""
    data: str | None = None
    """The problems, where they are elsewhere than when they were answered."""
    tokenizer: Path | None = None
    """Directory with a tokenizer.json; needed only for engines that bring none."""
    cache: Path | None = None
    """File of completions by request; null: completions.jsonl in the run directory."""
    concurrency: int = Field(default=16, ge=1)
    """Problems that are worked on at the same time."""
    retries: int = Field(default=2, ge=0)
    """How often a problem is tried again after an infrastructure failure."""
    failures: int = Field(default=20, ge=1)
    """Give up after so many problems in a row have failed: the engine is down."""
    label: str = ""
    """What reports call this run."""


class EvalConfig(CommandConfig):
    """Measure an engine on a benchmark."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {
            "out",
            "concurrency",
            "retries",
            "failures",
            "label",
            "cache",
            "out_of_distribution",
            "train_run",
        }
    )

    out: Path
    """Run directory."""
    benchmark: Annotated[ComponentConfig, Slot("benchmarks", default="trace_prediction")]
    """What to measure."""
    engine: Annotated[ComponentConfig, Slot("engines")]
    """What to measure it on."""
    limit: int | None = Field(default=None, ge=1)
    """Use this many tasks of the benchmark."""
    concurrency: int = Field(default=64, ge=1)
    """Tasks that are with the engine at the same time; engines batch what they can."""
    retries: int = Field(default=2, ge=0)
    """How often a task is tried again after an infrastructure failure."""
    failures: int = Field(default=20, ge=1)
    """Give up after so many tasks in a row have failed: the engine is down."""
    cache: Path | None = None
    """File of completions by request; runs that share it generate nothing twice."""
    label: str = ""
    """What reports call this run; the benchmark's data directory when empty."""
    out_of_distribution: bool = False
    """The tasks come from elsewhere than the training data; reports say so."""
    train_run: Path | None = None
    """Run directory of the training, for the loss curve in the report."""
