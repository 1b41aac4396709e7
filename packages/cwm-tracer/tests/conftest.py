"""Shared fixtures: a tracer, and the recording of one call."""

from __future__ import annotations

import textwrap

import pytest

from cwm_tracer.capture.config import SettraceConfig
from cwm_tracer.capture.limits import Limits
from cwm_tracer.programs.program import Program


@pytest.fixture(scope="module")
def tracer():
    with SettraceConfig().build(Limits(timeout_s=30)) as made:
        yield made


@pytest.fixture
def record(tracer):
    def run(source, input="", entry="f"):
        return tracer.record(Program("p", textwrap.dedent(source), entry, (input,)), input)

    return run
