"""A session as one page: the execution with time travel, and at each event what the model says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cwm_core.progress import progress
from cwm_core.trace.frames import Frame
from cwm_tracer.debug.compare import Difference
from cwm_tracer.debug.opening import Opened
from cwm_tracer.debug.predict import Prediction
from cwm_tracer.debug.story import Story
from cwm_tracer.timetravel.page import write_page


async def write_session(opened: Opened, path: Path) -> str:
    """Go through the whole story and write its page; return what there is to say of it.

    Raises:
        EngineError: the model cannot be asked.
        RunError: the disk refuses.
    """
    story = opened.story
    told: list[dict[str, Any] | None] = []
    agreeing = 0
    with progress(None if story.predicting else len(story.timeline), "debug", "event") as bar:
        while await story.reach(len(told)):
            made = await story.prediction(len(told))
            found = await story.differences(len(told))
            agreeing += made is not None and not found
            told.append(None if made is None else _row(made, found))
            bar.set(len(told))
    record = replace(opened.record, frames=tuple(_placed(story)))
    if story.predicting:
        record = replace(record, reason=f"predicted{_ended(story)}", stdout="")
    write_page(record, path, told if story.has_model else ())
    return f"{_summary(story, agreeing)}\nin {path}"


def _summary(story: Story, agreeing: int) -> str:
    count = len(story.timeline)
    if not story.has_model:
        return f"{count} events"
    if story.predicting:
        return f"{count} events predicted{_ended(story)}"
    share = f"{agreeing} of {count - 1}"
    return f"{count} events; the model predicts {share} as they were executed"


def _ended(story: Story) -> str:
    return f", {story.end_reason}" if story.end_reason else ""


def _placed(story: Story) -> Iterator[Frame]:
    """Yield the events with the places that the page needs."""
    timeline = story.timeline
    for index, frame in enumerate(timeline.frames):
        yield replace(
            frame,
            line_number=timeline.lines[index],
            depth=timeline.depths[index],
            function=timeline.function(index),
        )


def _row(made: Prediction, found: list[Difference]) -> dict[str, Any]:
    """Describe a prediction for page.js."""
    sure, frame = made.confidence, made.frame
    row: dict[str, Any] = {"wrong": [each.part for each in found]}
    row["event"] = ["end" if frame is None else str(frame.event), sure.event]
    if frame is not None:
        row["source"] = [frame.source.strip(), sure.source]
        row["locals"] = [
            [name, text, sure.values.get(name)] for name, text in (frame.locals or {}).items()
        ]
        if frame.value is not None:
            row["value"] = [frame.value, sure.value]
    if made.problems:
        row["problems"] = list(made.problems)
    return row
