"""From the records of a trace to a `TraceRecord`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cwm_core.data.records import Outcome, TraceRecord
from cwm_core.trace.frames import Frame
from cwm_tracer.capture.decode import context_of, decode
from cwm_tracer.capture.stream import FIELD, RECORD
from cwm_tracer.collect.repository.listing import Listing, Place, function_source
from cwm_tracer.collect.repository.streams import Cut
from cwm_tracer.programs.program import Program


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace, the function that it is of, and where it comes from."""

    record: TraceRecord
    program: Program
    place: str
    """Which function, and which of its reservoir's places: later ones replace earlier ones."""
    provenance: dict[str, Any]
    """Test, module, and which part of the context is of which file."""


def trace_of(cut: Cut, index: Mapping[str, Any], origin: str) -> Trace:
    """Rebuild a trace.

    Raises:
        ValueError, KeyError, IndexError, TypeError: the records make no sense.
    """
    about = cut.about
    places = _places(cut)
    file = index[str(about["file"])]
    def_line = {first: line for first, _, line in file["functions"]}[about["first_line"]]
    entry = (int(about["file"]), int(def_line))
    listing = Listing(index, entry, [place for place in places if place is not None])
    recording = decode(_moved(cut, places, listing), listing.text)
    if recording.damaged:
        raise ValueError("damaged records")
    program = Program.of(function_source(file, def_line), str(about["function"]), (), origin=origin)
    outcome, reason, duration_s = _end(cut)
    frames = tuple(recording.frames)
    record = TraceRecord(
        trace_id=f"{program.id}-{_digest(frames)}",
        program_id=program.id,
        split="",
        origin=origin,
        entry=program.entry,
        input=_input(about, frames),
        difficulty=None,
        constructs=program.constructs,
        context=context_of(listing.text, listing.line(entry)),
        frames=frames,
        outcome=outcome,
        reason=reason,
        stdout="",
        events=len(frames),
        duration_s=duration_s,
        python=str(about["python"]),
    )
    names = ("test", "module", "function")
    provenance: dict[str, Any] = {name: str(about[name]) for name in names}
    provenance |= {"trace_id": record.trace_id, "files": listing.parts}
    return Trace(record, program, f"{entry} {about['slot']}", provenance)


def _places(cut: Cut) -> list[Place | None]:
    """Return file and line of each record; None for those without."""
    files: dict[str, int] = {}
    of_activation: dict[str, int] = {}
    places: list[Place | None] = []
    for fields in cut.records:
        if fields[0] == "k":
            files[fields[1]] = int(fields[4])
            places.append(None)
            continue
        if fields[0] in "cs":
            of_activation[fields[1]] = files[fields[4]]
        places.append((of_activation[fields[1]], int(fields[2])))
    return places


def _moved(cut: Cut, places: list[Place | None], listing: Listing) -> str:
    """Return the records with lines of the listing instead of lines of files."""
    moved = []
    for fields, place in zip(cut.records, places, strict=True):
        if place is not None:
            fields = [*fields[:2], str(listing.line(place)), *fields[3:]]
        moved.append(FIELD.join(fields) + RECORD)
    return "".join(moved)


def _end(cut: Cut) -> tuple[Outcome, str, float]:
    if cut.end is None:
        return Outcome.EXITED, "the process ended, or the generator was never resumed", 0.0
    return Outcome(cut.end["outcome"]), str(cut.end["reason"]), float(cut.end["duration_s"])


def _digest(frames: tuple[Frame, ...]) -> str:
    """Hash what a trace shows, so that the same call made twice is one trace."""
    seen = [
        (frame.event.value, frame.source, dict(frame.locals or {}), frame.value, frame.depth)
        for frame in frames
    ]
    text = json.dumps(seen).encode("utf-8", "backslashreplace")
    return hashlib.sha256(text).hexdigest()[:12]


def _input(about: Mapping[str, Any], frames: tuple[Frame, ...]) -> str:
    """Write the arguments as source text, as far as their texts are source."""
    values = (frames[0].locals or {}) if frames else {}
    parts = [values[name] for name in about["positional"] if name in values]
    if about["variable"] in values:
        parts.append(f"*{values[about['variable']]}")
    parts += [f"{name}={values[name]}" for name in about["keyword_only"] if name in values]
    if about["keywords"] in values:
        parts.append(f"**{values[about['keywords']]}")
    return ", ".join(parts).replace(", *()", "").replace(", **{}", "")
