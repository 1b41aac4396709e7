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
        )
    ]
