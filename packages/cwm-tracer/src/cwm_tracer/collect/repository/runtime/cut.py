"""One trace, cut out of a test run: from the call of its root to the end of that frame."""

from __future__ import annotations

import json
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from cwm_tracer.capture.stream import FIELD, RECORD
from cwm_tracer.capture.values import Renderer
from cwm_tracer.collect.repository.runtime.activation import Activation
from cwm_tracer.collect.repository.runtime.sources import Function

if TYPE_CHECKING:
    from cwm_tracer.collect.repository.runtime.cutter import Cutter

_BUFFER = 1 << 16
_VARIABLE, _KEYWORDS = 0x4, 0x8  # CO_VARARGS, CO_VARKEYWORDS
_HERE = __file__[: -len("cut.py")]


class Cut:
    """A trace that is being recorded."""

    def __init__(self, cutter: Cutter, number: int, slot: int, frame: FrameType) -> None:
        settings = cutter.settings
        module = frame.f_globals.get("__name__")
        self._module = module if type(module) is str else ""
        self.renderer = Renderer(module=self._module, **settings["values"])
        self.depth = 0
        self.over = False
        """Whether nothing more is recorded."""
        self.exception = ""
        self.thread = 0
        """Where it is being recorded; 0 while its root is suspended."""
        self.root: Activation | None = None
        self.events = 0
        self._cutter = cutter
        self._number = number
        self._slot = slot
        self._events_left = settings["events"]
        self._bytes_left = settings["bytes"]
        self._parts: list[str] = []
        self._size = 0
        self._activations = 0
        self._numbers: dict[int, int] = {}
        self._started = time.perf_counter()

    def begin(self, frame: FrameType, function: Function) -> Activation:
        """Record the call of the root."""
        self._put(f"m{FIELD}{json.dumps(self._about(frame, function))}{RECORD}")
        self._flush()
        self.root = self.activation(function)
        self.root.enter(frame, False)
        return self.root

    def activation(self, function: Function) -> Activation:
        """Make the activation of another frame."""
        self._activations += 1
        return Activation(self, function, self._activations)

    def number_of(self, function: Function) -> int:
        """Return the number of a code object, describing it first if it is new."""
        number = self._numbers.get(id(function))
        if number is None:
            number = self._numbers[id(function)] = len(self._numbers)
            code = function.code
            fields = [str(number), str(code.co_firstlineno), function.qualname]
            self._put(FIELD.join(["k", *fields, str(function.file.number)]) + RECORD)
        return number

    def write(self, record: str) -> None:
        """Append an event; ends the trace when there are too many, or too many bytes."""
        if self.events >= self._events_left:
            self.end("step_limit", f"more than {self._events_left} events")
        elif self._size + len(record) > self._bytes_left:
            self.end("value_limit", "the trace is larger than allowed")
        else:
            self.events += 1
            self._put(record)

    def left(self, activation: Activation, suspended: bool, returned: bool) -> None:
        """Note that a frame was left; when it is the root's, the trace ends or pauses."""
        if activation is not self.root or self.over:
            return
        if suspended:
            self._cutter.paused(self)
        elif returned:
            self.end("returned", "")
        else:
            self.end("raised", self.exception)

    def end(self, outcome: str, reason: str) -> None:
        """Record nothing more, and hand everything over."""
        if self.over:
            return
        self.over = True
        end = {"outcome": outcome, "reason": reason[:1000], "events": self.events}
        end["duration_s"] = round(time.perf_counter() - self._started, 6)
        self._put(f"x{FIELD}{json.dumps(end)}{RECORD}")
        self._flush()
        self._cutter.ended(self)

    def failed(self, error: BaseException) -> None:
        """Give up when the recorder itself cannot go on.

        An exception that a signal handler raised here is the program's and goes on to it.
        """
        if not is_own(error):
            self.end("tracer_lost", "an asynchronous exception")
            raise error
        self.end("tracer_lost", f"{type(error).__name__}: {error}")

    def _put(self, record: str) -> None:
        self._parts.append(record)
        self._size += len(record)
        if len(record) > _BUFFER or len(self._parts) > 4096:
            self._flush()

    def _flush(self) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        self._cutter.put(self._number, text)

    def _about(self, frame: FrameType, function: Function) -> dict[str, Any]:
        code = frame.f_code
        positional = code.co_argcount
        named = positional + code.co_kwonlyargcount
        variable = bool(code.co_flags & _VARIABLE)
        names = list(code.co_varnames[: named + variable + bool(code.co_flags & _KEYWORDS)])
        return {
            "test": self._cutter.test,
            "slot": self._slot,
            "path": function.file.path,
            "file": function.file.number,
            "function": function.qualname,
            "first_line": code.co_firstlineno,
            "module": self._module,
            "positional": names[:positional],
            "keyword_only": names[positional:named],
            "variable": names[named] if variable else None,
            "keywords": names[-1] if code.co_flags & _KEYWORDS else None,
            "python": "{}.{}.{}".format(*sys.version_info[:3]),
        }


def is_own(error: BaseException) -> bool:
    """Whether the recorder itself raised, rather than a signal handler that ran amid it."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or isinstance(error, (RecursionError, MemoryError, OSError)):
        return True
    return traceback.tb_frame.f_code.co_filename.startswith(_HERE)
