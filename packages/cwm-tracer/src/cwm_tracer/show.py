"""A trace on the terminal: as a table, as the wire text, or as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cwm_core.data.records import TraceRecord
from cwm_core.trace.frames import Event, Frame


@dataclass(frozen=True, slots=True)
class View:
    """How a trace is to be seen: as a table, unless one of these says otherwise."""

    as_wire: bool = False
    as_json: bool = False
    html: Path | None = None
    """File for a page with time travel."""

    def show(self, record: TraceRecord) -> int:
        """Print or write a trace; return 0, or 1 if the execution did not reach its end."""
        if self.as_json:
            for line in json_lines(record):
                print(line)
        elif self.as_wire:
            print(wire(record))
        else:
            print_table(record)
        complete = record.trace.complete
        if not complete and (self.as_json or self.as_wire):
            print(summary(record), file=sys.stderr)
        return 0 if complete else 1


def json_lines(record: TraceRecord) -> Iterator[str]:
    """Yield one JSON object per frame, then one that says how the execution ended."""
    row = record.to_row()
    for frame, values in zip(record.frames, row.pop("frames")):
        values["locals"] = None if frame.locals is None else dict(frame.locals)
        yield json.dumps(values)
    yield json.dumps(row)


def wire(record: TraceRecord) -> str:
    """Return the trace in CWM's wire format."""
    from cwm_core.trace.codec import render_text

    return render_text(record.trace)


def print_table(record: TraceRecord) -> None:
    """Print the frames, with what changed in each."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("line", "event", "source", "state"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "line" else "left")
    for frame, state in zip(record.frames, _changes(record.frames)):
        indent = "  " * min(frame.depth or 0, 20)
        table.add_row(
            str(frame.line_number),
            Text(_label(frame), style=_STYLES[frame.event]),
            Text(indent + frame.source.strip()),
            Text(state),
        )
    console.print(table)
    if record.stdout:
        console.rule("printed", align="left")
        console.out(record.stdout.rstrip("\n"), highlight=False)
    console.print(Text(summary(record), style="bold"))


def summary(record: TraceRecord) -> str:
    """Say in one line how the execution ended."""
    what = f"{record.outcome.value}: {record.reason}" if record.reason else record.outcome.value
    return f"{what} ({record.events} events, {record.duration_s * 1000:.0f} ms)"


_STYLES = {
    Event.CALL: "cyan",
    Event.LINE: "",
    Event.RETURN: "green",
    Event.EXCEPTION: "red",
}


def _label(frame: Frame) -> str:
    if frame.suspended:
        return "yield" if frame.event is Event.RETURN else "resume"
    return frame.event.value


def _changes(frames: tuple[Frame, ...]) -> Iterator[str]:
    """Yield per frame what is new since the last one of the same function call."""
    stack: dict[int, Mapping[str, str]] = {}
    for frame in frames:
        depth = frame.depth or 0
        if frame.locals is None:
            arrow = "!" if frame.event is Event.EXCEPTION else "→"
            yield f"{arrow} {frame.value}"
            continue
        before = {} if frame.event is Event.CALL else stack.get(depth, {})
        changed = [
            f"{name} = {text}" for name, text in frame.locals.items() if before.get(name) != text
        ]
        gone = [f"del {name}" for name in before if name not in frame.locals]
        stack[depth] = frame.locals
        yield ", ".join(changed + gone)
