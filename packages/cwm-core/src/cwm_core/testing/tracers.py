"""Conformance suite of tracers: subclass it, make a tracer, and pytest runs it.

::

    class TestMine(TracerConformance):
        def make(self, **limits: Any) -> Tracer:
            return MyConfig().build(Limits(**limits))
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cwm_core.data.records import COMPLETE_OUTCOMES, TraceRecord
from cwm_core.trace.frames import START_OF_TRACE, Event

SUM = """\
def add(a, b):
    return a + b

def f(values):
    total = 0
    for value in values:
        total = add(total, value)
    return total
"""
OBJECTS = """\
class A:
    def __init__(self):
        self.inner = object()

def f():
    a = A()
    return [a, lambda: a, {1, 2, 3}]
"""
ENDINGS = {
    "def f(:\n": None,
    "1 / 0\n": None,
    "def g(): pass\n": None,
    "def f():\n    while True:\n        x = 1\n": None,
    "import time\ndef f():\n    time.sleep(600)\n": "timeout",
    "import os\ndef f():\n    os._exit(3)\n": None,
    "import os\ndef f():\n    os.kill(os.getpid(), 9)\n": None,
    "def f():\n    return [0] * 10**12\n": None,
    "def f():\n    return f()\n": None,
    "import sys\ndef f():\n    sys.settrace(None)\n    return 1\n": None,
}
"""Programs that do not end well, and the outcome where there is but one."""


@dataclass(frozen=True)
class _Program:
    """The fields of a program that tracers read."""

    source: str
    entry: str = "f"
    id: str = "p"
    inputs: tuple[str, ...] = ("",)
    difficulty: int | None = None
    constructs: tuple[str, ...] = ()
    origin: str = "suite"


class TracerConformance:
    """What every tracer promises, whatever the programs do."""

    def make(self, **limits: Any) -> Any:
        """Return a tracer; limits: `steps`, `timeout_s`, as those of `cwm_tracer`."""
        raise NotImplementedError("override `make`")

    def record(self, source: str, input: str = "", **limits: Any) -> TraceRecord:
        """Record one execution of `f` with a new tracer."""
        with self.make(**limits) as tracer:
            found: TraceRecord = tracer.record(_Program(source), input)
            return found

    def test_a_call_and_what_it_returns(self) -> None:
        """The trace begins with the entry's call and ends with its return."""
        record = self.record(SUM, "[1, 2]")
        assert (record.outcome, record.reason, record.trace.complete) == ("returned", "", True)
        first, last = record.frames[0], record.frames[-1]
        assert (first.event, first.locals, first.depth) == (Event.CALL, {"values": "[1, 2]"}, 0)
        assert (last.event, last.value, last.depth) == (Event.RETURN, "3", 0)

    def test_the_record_says_where_it_comes_from(self) -> None:
        """Program, input and interpreter."""
        record = self.record(SUM, "[1, 2]")
        assert (record.program_id, record.entry, record.input) == ("p", "f", "[1, 2]")
        assert record.origin == "suite"
        assert record.events >= len(record.frames)
        assert re.match(r"3\.\d+", record.python)
        assert START_OF_TRACE in record.context.splitlines()[3]

    def test_frames_belong_to_lines_of_the_source(self) -> None:
        """Each has the text of its line, and either a state or a value."""
        lines = SUM.splitlines(keepends=True)
        for frame in self.record(SUM, "[1, 2]").frames:
            assert frame.line_number is not None
            assert frame.source == lines[frame.line_number - 1]
            shows_state = frame.event in (Event.CALL, Event.LINE)
            assert (frame.locals is not None, frame.value is not None) == (
                shows_state,
                not shows_state,
            )

    def test_an_exception_ends_a_trace(self) -> None:
        """It is complete, and the reason names the exception."""
        record = self.record("def f(x):\n    return 1 / x\n", "0")
        assert record.outcome == "raised"
        assert "ZeroDivisionError" in record.reason
        assert record.trace.complete

    def test_the_same_execution_has_the_same_trace(self) -> None:
        """No address, no order by hash shows."""
        one, other = self.record(OBJECTS), self.record(OBJECTS)
        assert one.frames == other.frames
        assert one.trace_id == other.trace_id
        assert "0x" not in str(one.frames)

    def test_inputs_have_ids_of_their_own(self) -> None:
        """So have programs."""
        with self.make() as tracer:
            jobs = [(_Program(SUM), "[1]"), (_Program(SUM), "[2]"), (_Program(SUM, id="q"), "[1]")]
            assert len({tracer.record(*job).trace_id for job in jobs}) == 3

    def test_many_are_recorded_in_order(self) -> None:
        """Each as by itself."""
        with self.make() as tracer:
            records = list(tracer.record_many((_Program(SUM), f"[{n}]") for n in range(5)))
        assert [record.frames[-1].value for record in records] == list("01234")

    def test_records_are_rows(self) -> None:
        """Nothing is lost on the way into a shard."""
        record = self.record(SUM, "[1, 2]")
        assert TraceRecord.from_row(record.to_row()) == record

    @pytest.mark.parametrize("source", ENDINGS)
    def test_whatever_a_program_does_it_becomes_a_record(self, source: str) -> None:
        """Its outcome is no complete one without a reason, and the tracer goes on."""
        with self.make(steps=1000, timeout_s=2) as tracer:
            record = tracer.record(_Program(source), "")
            assert record.outcome != "returned"
            assert record.reason
            assert record.trace.complete == (record.outcome in COMPLETE_OUTCOMES)
            assert ENDINGS[source] in (None, record.outcome)
            assert tracer.record(_Program(SUM), "[7]").frames[-1].value == "7"

    def test_steps_are_limited(self) -> None:
        """An endless loop is cut off; what happened before is kept."""
        record = self.record("def f():\n    while True:\n        x = 1\n", steps=100)
        assert record.outcome == "step_limit"
        assert 0 < len(record.frames) <= 100

    def test_this_process_is_left_alone(self) -> None:
        """Programs change neither its directory, nor its output, nor its tracing."""
        before = Path.cwd(), sys.gettrace(), sys.stdout, sys.getrecursionlimit()
        source = (
            "import os, sys\ndef f():\n    os.chdir('/')\n    print(1)\n    sys.stdout = None\n"
        )
        self.record(source)
        assert (Path.cwd(), sys.gettrace(), sys.stdout, sys.getrecursionlimit()) == before
