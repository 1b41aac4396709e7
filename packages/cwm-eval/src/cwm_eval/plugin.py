"""What cwm-eval adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component


@hookimpl
def cwm_benchmarks() -> list[Component]:
    """Evaluations."""
    return [
        Component(
            "trace_prediction",
            "cwm_eval.benchmarks.config:TracePrediction",
            "Predict recorded executions, teacher-forced and free-running.",
        )
    ]


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
