"""Writes the page: markup, styles, script and the trace in one file that fetches nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.data.records import TraceRecord
from cwm_core.trace.frames import START_OF_TRACE
from cwm_tracer.capture.scripts import MODULE
from cwm_tracer.changes import Step, steps

Predictions = Sequence[Mapping[str, Any] | None]
"""What a model predicts for each event, as page.js wants it (see `cwm_tracer.debug.page`)."""


def write_page(record: TraceRecord, path: Path, predictions: Predictions = ()) -> None:
    """Write the page of a trace; RunError when the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, page(record, predictions))


def page(record: TraceRecord, predictions: Predictions = ()) -> str:
    """Return the page of a trace; what it shows is text, never markup or code of the trace."""
    content = {**_content(record), "predictions": list(predictions)}
    parts = {name: (files(__package__) / name).read_text("utf-8") for name in _PARTS}
    return Template(parts["page.html"]).substitute(
        title=_escaped(_title(record)),
        style=parts["page.css"],
        script=parts["page.js"],
        data=_inert(json.dumps(content, ensure_ascii=True, separators=(",", ":"))),
    )


_PARTS = ("page.html", "page.css", "page.js")


def _title(record: TraceRecord) -> str:
    if record.entry == MODULE:
        return f"script, {record.input}" if record.input else "script"
    return f"{record.entry}({record.input})"


def _content(record: TraceRecord) -> dict[str, Any]:
    functions: dict[str, int] = {}
    rows = [_row(step, functions) for step in steps(record.frames)]
    told = any(frame.stdout for frame in record.frames)
    return {
        "title": _title(record),
        "source": record.context.replace(f"  {START_OF_TRACE}", "").rstrip("\n").split("\n"),
        "functions": list(functions),
        "steps": rows,
        "outcome": str(record.outcome),
        "reason": record.reason,
        "stdout": "" if told else record.stdout,
        "facts": [record.trace_id, record.origin, f"Python {record.python}"],
    }


def _row(step: Step, functions: dict[str, int]) -> list[Any]:
    """Pack a step; page.js unpacks it: trailing entries that are empty are left out."""
    frame = step.frame
    function = functions.setdefault(frame.function or "?", len(functions))
    event = ("s" if frame.event == "call" else "y") if frame.suspended else str(frame.event)[0]
    row: list[Any] = [
        event,
        frame.line_number or 0,
        frame.depth or 0,
        function,
        step.activation,
        dict(step.changed),
        list(step.gone),
        frame.value,
        frame.stdout,
        frame.thread,
    ]
    while row and not row[-1] and len(row) > 5:
        row.pop()
    return row


def _inert(text: str) -> str:
    """Keep JSON from ending its script element."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _escaped(text: str) -> str:
    from html import escape

    return escape(text if len(text) <= 120 else f"{text[:119]}…")
