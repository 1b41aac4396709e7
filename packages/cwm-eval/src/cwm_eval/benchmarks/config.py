"""Configurations of the benchmarks; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_eval.benchmarks.trace_prediction import TracePredictionBenchmark


class TracePrediction(ComponentConfig):
    """How well an engine predicts executions, frame by frame and from the first call to the end."""

    data: Path
    """Directory of trace shards, or a run directory of `cwm trace`."""
    split: str = "test"
    """The split to measure on."""
    seed: int = 0
    """Draws the traces when there are limits."""
    tokenizer: Path | None = None
    """Directory with a tokenizer.json; needed only for engines that bring none."""
    teacher_forced: bool = True
    """Ask for predictions after true prefixes: one `score` call per trace."""
    free_running: bool = True
    """Ask for whole traces: one `generate` call per trace."""
    free_running_limit: int | None = Field(default=None, ge=0)
    """Generate for this many traces only (drawn by `seed`); all are still teacher-forced."""
    max_new_tokens: int = Field(default=2048, ge=1)
    """Generate at most so many tokens; traces that are longer than this are not generated."""
    length_factor: float = Field(default=2.0, ge=1.0)
    """Stop at so many times the true length (plus 64 tokens): by then a prediction is wrong."""
    environment: str = "trace_prediction"
    """The environment component that holds the tasks and judges free-running predictions."""

    def build(
        self, tokenizer: Tokenizer | None = None, limit: int | None = None
    ) -> TracePredictionBenchmark:
        """Build the benchmark; `tokenizer` is the engine's own, `limit` bounds the tasks.

        Raises `ConfigError` when there is no tokenizer or two different ones.
        """
        from cwm_eval.benchmarks.trace_prediction import TracePredictionBenchmark

        return TracePredictionBenchmark(self, tokenizer, limit)
