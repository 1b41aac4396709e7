"""Small recorded programs, their shards, and a tokenizer with one token per byte."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cwm_core.data.records import TRACE_SCHEMA, Outcome, TraceRecord
from cwm_core.data.shards import ShardWriter
from cwm_core.plugins import registry
from cwm_core.sandbox.base import SandboxError
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_core.trace.frames import START_OF_TRACE, Event, Frame
from cwm_eval.grading.config import Grading
from cwm_eval.grading.pool import Grader

PROGRAMS = {
    "double": "def f(n):\n    m = n * 2\n    return m\n",
    "loop": "def f(n):\n    t = 0\n    for i in range(n):\n        t += i\n    return t\n",
    "tag": "def f(n):\n    s = '<script>alert(1)</script>' * n\n    return s\n",
    "fails": "def f(n):\n    return 1 // (n - n)\n",
}


def record(name: str, source: str, argument: int, split: str = "test") -> TraceRecord:
    """Trace ``f(argument)`` of a program with one function."""
    lines = source.splitlines(keepends=True)
    frames: list[Frame] = []

    def on_event(frame: types.FrameType, event: str, value: Any) -> Any:
        if frame.f_code.co_filename != name:
            return None
        line = lines[frame.f_lineno - 1]
        if event in ("call", "line"):
            values = {key: repr(local) for key, local in frame.f_locals.items()}
            frames.append(Frame(Event(event), line, values, None, frame.f_lineno, 0, "f"))
        else:
            shown = repr(value[1]) if event == "exception" else repr(value)
            frames.append(Frame(Event(event), line, None, shown, frame.f_lineno, 0, "f"))
        return on_event

    scope: dict[str, Any] = {}
    exec(compile(source, name, "exec"), scope)
    outcome = Outcome.RETURNED
    sys.settrace(on_event)
    try:
        scope["f"](argument)
    except Exception:
        outcome = Outcome.RAISED
    finally:
        sys.settrace(None)
    return TraceRecord(
        trace_id=f"{name}-{argument}",
        program_id=name,
        split=split,
        origin="handmade",
        entry="f",
        input=str(argument),
        difficulty=len(lines),
        constructs=("for", "arithmetic") if "for" in source else ("arithmetic",),
        context=source.replace(":\n", f":  {START_OF_TRACE}\n", 1),
        frames=tuple(frames),
        outcome=outcome,
        reason="",
        stdout="",
        events=len(frames),
        duration_s=0.0,
        python="3.11",
    )


def write_shards(directory: Path, records: Iterable[TraceRecord]) -> Path:
    """Write records as finished shards."""
    with ShardWriter(directory, TRACE_SCHEMA) as writer:
        for each in records:
            writer.write(each.to_row())
        writer.finish()
    return directory


@pytest.fixture(scope="session")
def records() -> list[TraceRecord]:
    """Twelve executions of four programs, three each."""
    return [record(name, source, n) for name, source in PROGRAMS.items() for n in (1, 2, 3)]


@pytest.fixture
def shards(tmp_path: Path, records: list[TraceRecord]) -> Path:
    return write_shards(tmp_path / "traces", records)


@pytest.fixture
def make_shards(tmp_path: Path) -> Callable[[str, Iterable[TraceRecord]], Path]:
    return lambda name, found: write_shards(tmp_path / name, found)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """One token per byte: 256 and the named special ones."""
    return train_bpe(["def f(n):"], 273)


@pytest.fixture
def tokenizer_dir(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    tokenizer.save(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture(scope="session")
def environments() -> None:
    """Skip without the distribution that offers the environment."""
    if "trace_prediction" not in registry().components("environments"):
        pytest.skip("the environment trace_prediction (cwm-tracer) is not installed")


@pytest.fixture(scope="module")
def sandbox() -> None:
    """Skip where solutions cannot be run."""
    with Grader(Grading(workers=1)) as grader:
        try:
            grader.run_sync("", "")
        except SandboxError as error:
            pytest.skip(f"no sandbox here: {error}")
