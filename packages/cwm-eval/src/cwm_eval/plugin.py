"""What cwm-eval adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component

_CONFIG = "cwm_eval.benchmarks.config"
_QUESTIONS = (
    ("cruxeval_output", "CruxEvalOutput", "CRUXEval-O: tell what a call returns."),
    ("cruxeval_input", "CruxEvalInput", "CRUXEval-I: find arguments for a value."),
    ("halteval", "HaltEval", "HaltEval-prelim: tell whether a program ends."),
    ("humaneval", "HumanEval", "HumanEval and HumanEval+: complete a function."),
    ("mbpp", "Mbpp", "MBPP, sanitized or MBPP+: write a function for a sentence."),
    ("livecodebench", "LiveCodeBench", "LiveCodeBench: solve contest problems."),
    (
        "livecodebench_execution",
        "LiveCodeBenchExecution",
        "LiveCodeBench execution: tell what a call returns.",
    ),
    ("math500", "Math500", "MATH-500: competition mathematics."),
    ("aime", "Aime", "AIME: answers from 0 to 999."),
    ("bigobench", "BigOBench", "BigO(Bench): tell the complexity of a solution."),
)


@hookimpl
def cwm_benchmarks() -> list[Component]:
    """Evaluations."""
    own = Component(
        "trace_prediction",
        f"{_CONFIG}:TracePrediction",
        "Predict recorded executions, teacher-forced and free-running.",
    )
    swe = Component("swebench", f"{_CONFIG}:SweBench", "An agent repairs repositories.")
    return [own, *(Component(n, f"{_CONFIG}:{c}", text) for n, c, text in _QUESTIONS), swe]


@hookimpl
def cwm_environments() -> list[Component]:
    """The questions of the benchmarks, for training and data collection."""
    return [Component(n, f"{_CONFIG}:{c}Environment", text) for n, c, text in _QUESTIONS]


@hookimpl
def cwm_engines() -> list[Component]:
    """Engines that check a benchmark."""
    return [
        Component("gold", "cwm_eval.engines:Gold", "Knows every trace: must score 100 %."),
        Component("empty", "cwm_eval.engines:Empty", "Answers nothing: must score 0 %."),
    ]


@hookimpl
def cwm_commands() -> list[Command]:
    """`cwm eval` and `cwm eval report`."""
    return [Command("eval", "cwm_eval.cli:app", "Measure an engine on a benchmark; write reports.")]
