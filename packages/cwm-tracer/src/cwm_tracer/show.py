"""A trace on the terminal: as a table, as the wire text, or as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cwm_core.data.records import TraceRecord
from cwm_core.errors import DataError
from cwm_core.trace.frames import Event, Frame
from cwm_tracer.changes import Step, steps
from cwm_tracer.collect.sides import shards_of


@dataclass(frozen=True, slots=True)
class View:
    """How a trace is to be seen: as a table, unless one of these says otherwise."""

    as_wire: bool = False
    as_json: bool = False
    html: Path | None = None
    """File for a page with time travel."""

    def show(self, record: TraceRecord) -> int:
        """Print or write a trace; return 0, or 1 if the execution did not reach its end."""
        if self.html is not None:
            from cwm_tracer.timetravel.page import write_page

            write_page(record, self.html)
            print(f"{summary(record)}\nin {self.html}")
        elif self.as_json:
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
    for step in steps(record.frames):
        frame = step.frame
        indent = "  " * min(frame.depth or 0, 20)
        table.add_row(
            str(frame.line_number),
            Text(_label(frame), style=_STYLES[frame.event]),
            Text(indent + frame.source.strip()),
            Text(_news(step)),
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


def _news(step: Step) -> str:
    """Say what is new in a frame since the last one of the same function call."""
    if step.frame.locals is None:
        return f"{'!' if step.frame.event is Event.EXCEPTION else '→'} {step.frame.value}"
    changed = [f"{name} = {text}" for name, text in step.changed.items()]
    return ", ".join([*changed, *(f"del {name}" for name in step.gone)])


def find_record(shards: Path, trace_id: str) -> TraceRecord:
    """Return the trace of that id, or whose id alone begins so.

    Raises:
        DataError: the shards cannot be read, or hold no such trace, or several.
    """
    from cwm_core.data.shards import read_shards
    from cwm_core.suggestions import did_you_mean

    directory = shards_of(shards)
    ids = [row["trace_id"] for row in read_shards(directory, ["trace_id"])]
    found = [trace_id] if trace_id in ids else [each for each in ids if each.startswith(trace_id)]
    if len(set(found)) != 1:
        how_many = "no trace" if not found else f"{len(found)} traces"
        raise DataError(
            f"{how_many} in {directory} with id {trace_id!r}{did_you_mean(trace_id, ids)}",
            f"`cwm trace show {shards}` lists what there is",
        )
    return TraceRecord.from_row(next(iter(read_shards(directory, where={"trace_id": found[0]}))))


def print_list(shards: Path, most: int) -> None:
    """Print one line per trace of some shards; DataError if they cannot be read."""
    from itertools import islice

    from cwm_core.data.shards import count_rows, read_shards

    directory = shards_of(shards)
    columns = ["trace_id", "origin", "entry", "input", "outcome", "events"]
    for row in islice(read_shards(directory, columns), most):
        call = f"{row['entry']}({row['input']})"
        shown = call if len(call) <= 60 else f"{call[:59]}…"
        print(
            f"{row['trace_id']}  {row['outcome']}  {row['events']} events  {shown}  {row['origin']}"
        )
    left = count_rows(directory) - most
    if left > 0:
        print(f"... and {left} more (--limit {most + left})")
