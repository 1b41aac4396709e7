"""What cwm-tracer adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component


@hookimpl
def cwm_environments() -> list[Component]:
    """Sets of tasks with dynamics."""
    return [
        Component(
            "trace_prediction",
            "cwm_tracer.environments:TracePrediction",
            "Continue recorded executions, or tell their next frame.",
        ),
        Component(
            "output_prediction",
            "cwm_tracer.answers:OutputPrediction",
            "Tell what a recorded call returned.",
        ),
        Component(
            "input_prediction",
            "cwm_tracer.answers:InputPrediction",
            "Find arguments that give a recorded value; they are tried by running.",
        ),
    ]


@hookimpl
def cwm_tracers() -> list[Component]:
    """What records executions."""
    return [
        Component(
            "settrace",
            "cwm_tracer.capture.config:SettraceConfig",
            "Python's sys.settrace, in a process per program.",
        )
    ]


@hookimpl
def cwm_programs() -> list[Component]:
    """Where programs to trace come from."""
    return [
        Component(
            "generated",
            "cwm_tracer.programs.config:GeneratedPrograms",
            "Programs made by the grammar-based generator.",
        ),
        Component(
            "file",
            "cwm_tracer.programs.config:ProgramFile",
            "Benchmark files, JSON lines, Python files.",
        ),
    ]


@hookimpl
def cwm_input_generators() -> list[Component]:
    """What invents inputs for functions."""
    return [
        Component(
            "usage",
            "cwm_tracer.inputs.config:UsageConfig",
            "Defaults, and calls with literal arguments.",
        ),
        Component(
            "doctest",
            "cwm_tracer.inputs.config:DoctestConfig",
            "Doctests, and examples in docstrings.",
        ),
        Component(
            "hints",
            "cwm_tracer.inputs.config:HintsConfig",
            "Values drawn by hypothesis from annotations, written or inferred.",
        ),
        Component(
            "mutation",
            "cwm_tracer.inputs.config:MutationConfig",
            "Small changes of known inputs.",
        ),
        Component(
            "llm",
            "cwm_tracer.inputs.config:LlmConfig",
            "Calls that a language model proposes, through any engine.",
        ),
    ]


@hookimpl
def cwm_commands() -> list[Command]:
    """Return the commands of the tracer."""
    return [
        Command("trace", "cwm_tracer.cli:app", "Record executions: one, or shards of many."),
        Command(
            "debug", "cwm_tracer.commands.debug:app", "Step through an execution or its prediction."
        ),
    ]


@hookimpl
def cwm_probes() -> list[str]:
    """What `cwm doctor` looks for."""
    return ["cwm_tracer.capture.probe:native_recorder"]
