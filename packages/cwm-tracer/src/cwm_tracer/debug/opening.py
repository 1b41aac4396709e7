"""From what a command or an editor asks for to a story."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cwm_core.data.records import TraceRecord
from cwm_core.errors import DataError
from cwm_tracer.debug.config import DebugConfig
from cwm_tracer.debug.predict import Predictor
from cwm_tracer.debug.story import Mode, Story

if TYPE_CHECKING:
    from cwm_core.engine.base import Engine


@dataclass(frozen=True, slots=True)
class Subject:
    """What is debugged: a function and its arguments, or a recorded trace."""

    target: str
    """``FILE.py:function``, ``module:function``, or trace shards."""
    input: str = ""
    trace_id: str = ""
    """Which trace of the shards."""


@dataclass(slots=True)
class Opened:
    """A story with what it came from."""

    story: Story
    record: TraceRecord
    title: str
    path: Path | None
    """The program's file, where it is one."""
    engine: Engine | None

    async def close(self) -> None:
        """Free the engine."""
        if self.engine is not None:
            await self.engine.close()


async def open_story(config: DebugConfig, subject: Subject) -> Opened:
    """Record or read the execution, load the model, and return the story.

    Raises:
        CwmError: the program, the shards or the model are not to be had.
    """
    record, path = await asyncio.to_thread(_recorded, config, subject)
    engine = await asyncio.to_thread(_engine, config)
    predictor = None if engine is None else _predictor(config, engine, record.context)
    story = Story(
        record.context,
        record.trace.frames,
        predictor=predictor,
        mode=_mode(config),
        max_events=config.max_events,
        end_reason=record.reason,
    )
    title = f"{record.entry}({record.input})"
    return Opened(story, record, title, path, engine)


def _engine(config: DebugConfig) -> Engine | None:
    return None if config.engine is None else config.engine.build()


def _predictor(config: DebugConfig, engine: Engine, context: str) -> Predictor:
    from cwm_core.engine.tokenizer import tokenizer_of

    assert config.engine is not None
    tokenizer = tokenizer_of(engine, config.engine.name, config.tokenizer, "tokenizer")
    return Predictor(engine, tokenizer, context, max_tokens=config.max_event_tokens)


def _mode(config: DebugConfig) -> Mode:
    chosen: Literal["auto"] | Mode = config.mode
    if chosen == "auto":
        return "executed" if config.engine is None else "both"
    return chosen


def _recorded(config: DebugConfig, subject: Subject) -> tuple[TraceRecord, Path | None]:
    from cwm_tracer.target import is_target

    if is_target(subject.target):
        return _run(config, subject)
    if subject.target.endswith(".py"):
        raise DataError(f"{subject.target} names no function", f"write {subject.target}:FUNCTION")
    from cwm_tracer.show import find_record

    if not subject.trace_id:
        raise DataError(
            f"which trace of {subject.target}?",
            f"give its id: `cwm trace show {subject.target}` lists them",
        )
    return find_record(Path(subject.target), subject.trace_id), None


def _run(config: DebugConfig, subject: Subject) -> tuple[TraceRecord, Path | None]:
    from cwm_tracer.api import record_source
    from cwm_tracer.target import load_target

    source, entry, around = load_target(subject.target)
    with config.tracer.build(config.limits) as tracer:
        record = record_source(tracer, source, entry, subject.input, around)
    if not record.frames:
        raise DataError(
            f"{subject.target} cannot be run: {record.outcome.value}: {record.reason}",
            "check the function and its input",
        )
    path = Path(around.file)
    return record, path if path.is_file() else None
