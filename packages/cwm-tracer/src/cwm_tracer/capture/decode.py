"""Records of a traced process to frames, trusting nothing in them."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field, replace

from cwm_core.trace.frames import START_OF_TRACE, Event, Frame
from cwm_tracer.capture.scripts import HIDDEN, MODULE
from cwm_tracer.capture.stream import FIELD, RECORD

_VALUE_EVENTS = {"r": Event.RETURN, "y": Event.RETURN, "e": Event.EXCEPTION}


@dataclass(slots=True)
class Recording:
    """What one process recorded."""

    frames: list[Frame] = field(default_factory=list)
    stdout: bytearray = field(default_factory=bytearray)
    phase: str = "start"
    """What the process was last seen doing: start, load, input, run."""
    entry_line: int | None = None
    outcome: str | None = None
    """As the process itself stated it; None if it ended without a word."""
    reason: str = ""
    damaged: bool = False
    """Whether a record made no sense: the program tampered with its own process."""


@dataclass(slots=True)
class _Activation:
    function: str | None
    depth: int | None
    locals: dict[str, str]
    track: tuple[int, int] = 0, 0
    """Its number, and that of its thread."""


def decode(records: str, source: str) -> Recording:
    """Rebuild frames with complete locals; stops at the first record that makes no sense."""
    decoder = _Decoder([line + "\n" for line in source.split("\n")])
    for record in records.split(RECORD):
        if record:
            try:
                decoder.take(record.split(FIELD))
            except (ValueError, KeyError, IndexError, TypeError, binascii.Error, RecursionError):
                decoder.recording.damaged = True
                break
    decoder.tell_printed()
    return decoder.recording


class _Decoder:
    def __init__(self, lines: list[str]) -> None:
        self.recording = Recording()
        self._lines = lines
        self._codes: dict[str, str] = {}
        self._activations: dict[str, _Activation] = {}
        self._track = 0, 0
        self._printed = bytearray()

    def take(self, fields: list[str]) -> None:
        kind = fields[0]
        if kind == "l":
            activation = self._activations[fields[1]]
            self._bind(activation, fields, 3)
            self._add(Event.LINE, fields[2], activation, locals_=activation.locals)
        elif kind in _VALUE_EVENTS:
            activation = self._activations[fields[1]]
            self._add(
                _VALUE_EVENTS[kind], fields[2], activation, value=fields[3], paused=kind == "y"
            )
        elif kind in ("c", "s"):
            self._enter(fields, kind == "s")
        else:
            self._other(kind, fields)

    def _enter(self, fields: list[str], resumed: bool) -> None:
        _, number, line, depth, code, *_ = fields
        function = self._codes[code]
        if resumed:
            activation = self._activations[number]
            activation.depth = int(depth)
        else:
            activation = self._activations[number] = _Activation(function, int(depth), {})
        activation.track = self._track
        self._bind(activation, fields, 5)
        self._add(Event.CALL, line, activation, locals_=activation.locals, paused=resumed)

    def _bind(self, activation: _Activation, fields: list[str], start: int) -> None:
        known, script = activation.locals, activation.function == MODULE
        for index in range(start, len(fields), 2):
            name, text = fields[index], fields[index + 1]
            if text:
                if not (script and name in HIDDEN):
                    known[name] = text
            elif not (script and name in HIDDEN):
                del known[name]

    def _add(
        self,
        event: Event,
        line: str,
        activation: _Activation,
        *,
        locals_: dict[str, str] | None = None,
        value: str | None = None,
        paused: bool = False,
    ) -> None:
        self.tell_printed()
        number = int(line)
        if number <= 0 and activation.function == MODULE:
            number = self.recording.entry_line or 0
        self.recording.frames.append(
            Frame(
                event=event,
                source=self._lines[number - 1] if number > 0 else "",
                locals=None if locals_ is None else dict(locals_),
                value=value,
                line_number=number,
                depth=activation.depth,
                function=activation.function,
                suspended=paused,
                track=activation.track[0],
                thread=activation.track[1],
            )
        )

    def tell_printed(self) -> None:
        """Add what was printed since the last frame to that one."""
        if self._printed:
            frames, text = self.recording.frames, self._printed.decode("utf-8", "replace")
            self._printed.clear()
            if frames:
                frames[-1] = replace(frames[-1], stdout=text)

    def _other(self, kind: str, fields: list[str]) -> None:
        recording = self.recording
        if kind == "k":
            self._codes[fields[1]] = fields[3]
        elif kind == "o":
            printed = base64.b64decode(fields[1], validate=True)
            recording.stdout += printed
            self._printed += printed
        elif kind == "t":
            self._track = int(fields[1]), int(fields[2])
        elif kind == "p":
            recording.phase = fields[1]
        elif kind == "d":
            recording.entry_line = int(fields[1])
        elif kind == "x":
            end = json.loads(fields[1])
            recording.outcome, recording.reason = str(end["outcome"]), str(end["reason"])
        else:
            raise ValueError(kind)


def context_of(source: str, entry_line: int | None) -> str:
    """Return the source as the model is shown it: the entry's `def` line bears the start mark."""
    lines = source.split("\n")
    if entry_line is not None and 0 < entry_line <= len(lines):
        lines[entry_line - 1] = f"{lines[entry_line - 1].rstrip()}  {START_OF_TRACE}"
    return "\n".join(lines)
