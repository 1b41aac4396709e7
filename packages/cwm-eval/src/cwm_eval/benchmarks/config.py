"""Configurations of the benchmarks; imports nothing heavy."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import Slot
from cwm_eval.benchmarks.asking import AsBenchmark, AsEnvironment, Questions
from cwm_eval.grading.config import Grading

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_eval.benchmarks.questions import QuestionEnvironment
    from cwm_eval.benchmarks.swebench import SweBenchBenchmark
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


class WithCode(Questions):
    """Data sets whose answers are run."""

    grading: Grading = Grading()
    """How answers are run."""


class CruxEvalOutputTasks(WithCode):
    """CRUXEval-O: what does a call return?"""

    mode: Literal["value", "trace", "step"] = "value"
    """Ask for the value in words (`reasoning` says how), for the whole execution as a trace, or in
    a trace for the return right after the call."""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.cruxeval import CruxEvalOutput

        return CruxEvalOutput(self, tokenizer, limit)


class CruxEvalInputTasks(WithCode):
    """CRUXEval-I: with which arguments does a call return this?"""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.cruxeval import CruxEvalInput

        return CruxEvalInput(self, limit)


class HaltEvalTasks(Questions):
    """HaltEval-prelim: does a program end?"""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.halting import HaltEval

        return HaltEval(self, limit)


class HumanEvalTasks(WithCode):
    """HumanEval or HumanEval+: complete a function."""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.humaneval import HumanEval

        return HumanEval(self, limit)


class MbppTasks(WithCode):
    """MBPP, its sanitized version, or MBPP+: write a function for a sentence."""

    all_tasks: bool = False
    """Use every task of the file, not only those of the test split (ids 11 to 510)."""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.mbpp import Mbpp

        return Mbpp(self, limit)


class Contests(WithCode):
    """Problems with the date of their contest."""

    start: date | None = None
    """First day; CWM's windows: 2024-10-01 for v5, 2024-08-01 for v6."""
    end: date | None = None
    """Last day, included; 2025-02-01 for v5, 2025-05-01 for v6."""


class LiveCodeBenchTasks(Contests):
    """LiveCodeBench, code generation: contest problems with all their tests."""

    test_cpu_s: int = Field(default=6, ge=1)
    """Seconds of CPU time for each test."""
    solutions: Path | None = None
    """Programs in the format of submissions, for a gold run; the data set publishes none."""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.livecodebench import LiveCodeBench

        return LiveCodeBench(self, limit)


class LiveCodeBenchExecutionTasks(Contests):
    """LiveCodeBench, code execution: what does a call return?"""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.livecodebench import LiveCodeBenchExecution

        return LiveCodeBenchExecution(self, limit)


class Mathematics(Questions):
    """Data sets with answers in LaTeX."""

    workers: int = Field(default=2, ge=1)
    """Processes that compare answers."""
    cpu_s: float = Field(default=10.0, gt=0)
    """Seconds of CPU time for one comparison; what takes longer is wrong."""


class Math500Tasks(Mathematics):
    """MATH-500: competition problems in seven subjects and five levels."""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.mathematics import math_500

        return math_500(self, limit)


class AimeTasks(Mathematics):
    """AIME: problems whose answer is an integer from 0 to 999."""

    year: int | None = None
    """Use the problems of this year only, where the file tells years."""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.mathematics import aime

        return aime(self, limit)


class BigOBenchTasks(Questions):
    """BigO(Bench): the complexity of a solution."""

    predict: Literal["time", "space"] = "time"
    """Which complexity to ask for; names the field with the label."""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment."""
        from cwm_eval.benchmarks.bigobench import BigOBench

        return BigOBench(self, limit)


class CruxEvalOutput(CruxEvalOutputTasks, AsBenchmark):
    """CRUXEval-O: what does a call return?"""


class CruxEvalOutputEnvironment(CruxEvalOutputTasks, AsEnvironment):
    """CRUXEval-O: what does a call return?"""


class CruxEvalInput(CruxEvalInputTasks, AsBenchmark):
    """CRUXEval-I: with which arguments does a call return this?"""


class CruxEvalInputEnvironment(CruxEvalInputTasks, AsEnvironment):
    """CRUXEval-I: with which arguments does a call return this?"""


class HaltEval(HaltEvalTasks, AsBenchmark):
    """HaltEval-prelim: does a program end?"""


class HaltEvalEnvironment(HaltEvalTasks, AsEnvironment):
    """HaltEval-prelim: does a program end?"""


class HumanEval(HumanEvalTasks, AsBenchmark):
    """HumanEval or HumanEval+: complete a function."""


class HumanEvalEnvironment(HumanEvalTasks, AsEnvironment):
    """HumanEval or HumanEval+: complete a function."""


class Mbpp(MbppTasks, AsBenchmark):
    """MBPP, its sanitized version, or MBPP+: write a function for a sentence."""


class MbppEnvironment(MbppTasks, AsEnvironment):
    """MBPP, its sanitized version, or MBPP+: write a function for a sentence."""


class LiveCodeBench(LiveCodeBenchTasks, AsBenchmark):
    """LiveCodeBench, code generation: contest problems with all their tests."""


class LiveCodeBenchEnvironment(LiveCodeBenchTasks, AsEnvironment):
    """LiveCodeBench, code generation: contest problems with all their tests."""


class LiveCodeBenchExecution(LiveCodeBenchExecutionTasks, AsBenchmark):
    """LiveCodeBench, code execution: what does a call return?"""


class LiveCodeBenchExecutionEnvironment(LiveCodeBenchExecutionTasks, AsEnvironment):
    """LiveCodeBench, code execution: what does a call return?"""


class Math500(Math500Tasks, AsBenchmark):
    """MATH-500: competition problems in seven subjects and five levels."""


class Math500Environment(Math500Tasks, AsEnvironment):
    """MATH-500: competition problems in seven subjects and five levels."""


class Aime(AimeTasks, AsBenchmark):
    """AIME: problems whose answer is an integer from 0 to 999."""


class AimeEnvironment(AimeTasks, AsEnvironment):
    """AIME: problems whose answer is an integer from 0 to 999."""


class BigOBench(BigOBenchTasks, AsBenchmark):
    """BigO(Bench): the complexity of a solution."""


class BigOBenchEnvironment(BigOBenchTasks, AsEnvironment):
    """BigO(Bench): the complexity of a solution."""


class SweBench(ComponentConfig):
    """SWE-bench Verified and its like: an agent repairs repositories."""

    environment: Annotated[ComponentConfig, Slot("environments", default="swe")]
    """The environment with the instances; it judges patches."""
    agent: Annotated[ComponentConfig, Slot("agents", default="llm")]
    """Who repairs; `oracle` is the gold run, `noop` the empty one."""
    split: str = "test"
    """The environment's split."""
    seed: int = 0
    """Draws instances when there is a limit."""
    predictions: Path | None = None
    """Judge the patches of this file instead: with ``agent=oracle``, which then submits them."""
    samples: int = Field(default=1, ge=1)
    """Episodes per instance."""
    ks: tuple[int, ...] = (1,)
    """Report pass@k for each of these."""
    temperature: float = Field(default=0.0, ge=0.0)
    """0 is greedy; CWM was measured with 1.0."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Sample among the most likely tokens that make up this probability."""
    max_new_tokens: int = Field(default=65_536, ge=1)
    """Length of one action."""

    def build(
        self, tokenizer: Tokenizer | None = None, limit: int | None = None
    ) -> SweBenchBenchmark:
        """Build the benchmark."""
        from cwm_eval.benchmarks.swebench import SweBenchBenchmark

        return SweBenchBenchmark(self, tokenizer, limit)
