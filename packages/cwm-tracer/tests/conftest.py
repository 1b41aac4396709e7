"""Shared fixtures: a tracer, the recording of one call, and helpers of several test modules."""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from pathlib import Path

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


def sibling(name):
    """Import a module that lies beside the tests."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def predicting():
    """A small program, and models of its execution."""
    return sibling("predicting")


@pytest.fixture(scope="session")
def dap_client():
    """A client of debug adapters."""
    pytest.importorskip("debugpy")
    return sibling("dap_client")
