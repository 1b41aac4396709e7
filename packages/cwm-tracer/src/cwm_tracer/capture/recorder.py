"""The recorder in pure Python: a `sys.settrace` function that writes what changed.

What it records of a program (chosen by the file name of its code objects):

- one call, return and exception event per frame as `sys.settrace` reports them; a yield or await is
  a return event and its resume a call event, both marked;
- one line event per statement that runs: a statement over several lines is one step, shown by its
  first line;
- list, set and dict comprehensions have no frames or steps of their own on any version of Python
  (functions that they call do); generator expressions have.

Names appear in the order in which they were first bound. Values are rendered again only where they
may have changed: atoms are compared by identity while held, builtin containers by a key (`known`).

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

from sys import settrace
from types import CodeType, FrameType
from typing import Any

from cwm_tracer.capture.codes import REPEATS, RETURNS, SUSPENDS, Code, explicit
from cwm_tracer.capture.endings import Endings, Finish
from cwm_tracer.capture.known import Same, grow, grown, is_items, key_of
from cwm_tracer.capture.statements import Entry, Statements
from cwm_tracer.capture.stream import FIELD, RECORD, Region
from cwm_tracer.capture.tracks import Thread, Tracks
from cwm_tracer.capture.values import ATOMS, Renderer

_COMPARED = frozenset({list, tuple, dict})
"""Containers whose key is worth taking (that of a set costs more than its text)."""

_SHORT = 10**30
_Known = tuple[type, Any, str, "Same | None"]
"""Class, key and text of a value, and what compares with the key; without that, the key is the
value itself if that is an atom, or None."""


class _Activation:
    """One frame of the program: what was last shown of it."""

    __slots__ = (
        "active",
        "code",
        "known",
        "number",
        "raised_at",
        "recorder",
        "step",
        "tag",
        "thread",
    )

    def __init__(self, recorder: Recorder, code: Code, number: int) -> None:
        self.recorder = recorder
        self.code = code
        self.number = number
        self.tag = f"{FIELD}{number}{FIELD}"
        self.known: dict[str, _Known] = {}
        self.active = False
        self.thread: Thread
        self.step = 0
        self.raised_at = -1

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Record one event of this frame (the local trace function)."""
        recorder = self.recorder
        lock = recorder.tracks.lock
        if lock is not None:
            lock.acquire()
        try:
            line = frame.f_lineno or 0
            if event == "line":
                self.raised_at = -1
                shown = self.code.multi.get(line)
                if shown is None:
                    self.step = 0
                    if self.code.marks[frame.f_lasti >> 1] & REPEATS:
                        return self.trace
                elif shown == self.step:
                    return self.trace
                else:
                    self.step = line = shown
                recorder.steps_left -= 1
                if recorder.steps_left < 0:
                    recorder.endings.too_many_steps()
                recorder.write(f"l{self.tag}{line}{self.changes(frame)}{RECORD}")
            else:
                self.leave(frame, event, self.code.multi.get(line, line), arg)
        except BaseException as error:
            recorder.endings.failed(error)
        finally:
            if lock is not None:
                lock.release()
        return self.trace

    def changes(self, frame: FrameType) -> str:
        """Return the names whose text is new with their text, and those that are gone.

        This is where the time goes, so what is cheap is done here and now: values that are the
        same object, and containers whose key is the same.
        """
        known = self.known
        rendered = self.recorder.rendered
        values: Any = frame.f_locals
        names: Any = self.code.names
        if names is None:
            values = names = explicit(values)
        parts = []
        bound = 0
        for name in names:
            value = values.get(name, known)
            if value is known:
                continue
            bound += 1
            kind = type(value)
            old = known.get(name)
            if old is not None and old[0] is kind:
                mark = old[1]
                if mark is value:
                    continue
                same = old[3]
                if same is not None and same(value, mark):
                    continue
            new = rendered(value, kind, old)
            known[name] = new
            if old is None or old[2] != new[2]:
                parts.append(f"{FIELD}{name}{FIELD}{new[2]}")
        if bound != len(known):
            parts += self._gone(values, names)
        return "".join(parts)

    def _gone(self, values: Any, names: Any) -> list[str]:
        """Forget the names that are unbound, and return the fields that say so."""
        known = self.known
        gone = [name for name in names if name in known and name not in values]
        if self.code.names is None:
            gone = [name for name in known if name not in values]
        for name in gone:
            del known[name]
        return [f"{FIELD}{name}{FIELD}" for name in gone]

    def enter(self, frame: FrameType, resumed: bool) -> None:
        """Record the call of this frame, or its resumption."""
        recorder = self.recorder
        self.active = True
        self.raised_at = -1
        self.step = 0
        thread = self.thread = recorder.tracks.enter()
        depth = thread.depth
        thread.depth += 1
        if thread.depth > recorder.max_depth:
            recorder.endings.too_deep()
        line = frame.f_lineno or 0
        line = self.code.multi.get(line, line)
        kind = "s" if resumed else "c"
        place = f"{line}{FIELD}{depth}{FIELD}{self.code.number}"
        recorder.write(f"{kind}{self.tag}{place}{self.changes(frame)}{RECORD}")

    def leave(self, frame: FrameType, event: str, line: int, arg: Any) -> None:
        """Record an exception, a yield, or a return and with it the end of the frame."""
        recorder = self.recorder
        if event == "exception":
            recorder.count()
            self.raised_at = frame.f_lasti
            text = recorder.renderer.text(arg[1])
            if self.thread.number == 0:
                recorder.exception = text, isinstance(arg[1], MemoryError)
            recorder.write(f"e{self.tag}{line}{FIELD}{text}{RECORD}")
        elif event == "return":
            recorder.count()
            marks = self.code.marks[frame.f_lasti >> 1]
            # An exception thrown in at a yield leaves the frame there, too.
            suspended = marks & SUSPENDS and self.raised_at != frame.f_lasti
            kind = "y" if suspended else "r"
            recorder.write(f"{kind}{self.tag}{line}{FIELD}{recorder.renderer.text(arg)}{RECORD}")
            if self.active:
                self.active = False
                self.thread.depth -= 1
            recorder.left(self, frame, kind, bool(marks & RETURNS))


class Recorder:
    """Records the execution of one entry function into a region."""

    def __init__(
        self,
        region: Region,
        renderer: Renderer,
        statements: Statements,
        *,
        filename: str,
        entry: Entry | None,
        steps: int,
        depth: int,
        finish: Finish,
    ) -> None:
        self.renderer = renderer
        self.write = region.write
        self.tracks = Tracks(region.write)
        self.exception = "", False
        self.started = False
        self._statements = statements
        self._filename = filename
        self._entry = entry
        self.steps_left = steps
        self.max_depth = depth
        self.endings = Endings(finish, steps=steps, depth=depth)
        self._own_codes = 0
        self._codes: dict[int, tuple[CodeType, Code | None]] = {}
        self._activations = 0
        self._root: _Activation | None = None

    def start(self) -> None:
        """Begin to watch for the call of the entry function."""
        settrace(self.trace)

    def share(self) -> None:
        """Prepare for a second thread."""
        self.tracks.share()

    def start_thread(self) -> None:
        """Begin to record the calling thread, which is not the entry's."""
        settrace(self.trace)

    def end_thread(self) -> None:
        """Stop to record the calling thread, which ends."""
        settrace(None)
        self.tracks.end_thread()

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Decide on a called frame (the global trace function)."""
        lock = self.tracks.lock
        if lock is not None:
            lock.acquire()
        try:
            known = self._codes.get(id(frame.f_code))
            code = known[1] if known is not None else self._register(frame.f_code)
            if code is None or (not self.started and not code.starts):
                return None
            activation, resumed = self._activation(frame, code)
            self.count()
            if self.renderer.call_repr and code.init:
                self._construction(frame, 1)
            activation.enter(frame, resumed)
        except BaseException as error:
            self.endings.failed(error)
            return None
        finally:
            if lock is not None:
                lock.release()
        return activation.trace

    def _activation(self, frame: FrameType, code: Code) -> tuple[_Activation, bool]:
        held = getattr(frame.f_trace, "__self__", None)
        if type(held) is _Activation and held.code is code:
            return held, True
        self._activations += 1
        activation = _Activation(self, code, self._activations)
        if self._root is None:
            self._root = activation
            self.started = True
        return activation, False

    def _register(self, code: CodeType) -> Code | None:
        """Decide on a code object, once."""
        own = Code.of(code, self._own_codes, self._filename, self._statements, self._entry)
        if own is not None:
            self._own_codes += 1
            self.write(own.record())
        self._codes[id(code)] = code, own
        return own

    def _construction(self, frame: FrameType, step: int) -> None:
        """Note that an object's `__init__` begins (1) or ends (-1)."""
        key = id(frame.f_locals.get(frame.f_code.co_varnames[0]))
        running = self.renderer.half_built
        running[key] = running.get(key, 0) + step
        if running[key] <= 0:
            del running[key]

    def rendered(self, value: Any, kind: type, old: _Known | None) -> _Known:
        """Return what is to be known of a value, of which `old` was known before."""
        if kind is int and -_SHORT < value < _SHORT:
            return kind, value, repr(value), None
        renderer = self.renderer
        if type(kind) is type and kind in ATOMS and kind is not range:
            return kind, value, renderer.atom(value, kind), None
        if type(kind) is not type or kind not in _COMPARED:
            return kind, None, renderer.text(value), None
        if old is not None and old[0] is kind is list and is_items(old[3]):
            known = self._grown(value, old)
            if known is not None:
                return known
        text = renderer.text(value)
        if not renderer.plain:
            return kind, None, text, None
        key, same = key_of(value, kind, renderer.shown)
        return kind, key, text, same

    def _grown(self, value: list[Any], old: _Known) -> _Known | None:
        """Return what is known of a list of atoms to which some were appended, by what was known.

        Its text equals that of the whole list: both parts are far within the budgets.
        """
        kind, key, text, same = old
        most = self.renderer.value_bytes // 2
        if len(text) > most or 2 * len(value) > self.renderer.value_nodes:
            return None
        tail = grown(value, key)
        if tail is None:
            return None
        more = self.renderer.text(tail)
        if not self.renderer.plain or len(more) > most:
            return None
        return kind, grow(key, tail), f"{text[:-1]}, {more[1:]}", same

    def count(self) -> None:
        """Count an event; ends the process when there are too many."""
        self.steps_left -= 1
        if self.steps_left < 0:
            self.endings.too_many_steps()

    def left(self, activation: _Activation, frame: FrameType, kind: str, returned: bool) -> None:
        """Note that a frame was left; the end of the entry's own frame ends the recording."""
        if self.renderer.half_built and activation.code.init:
            self._construction(frame, -1)
        if activation is not self._root or kind == "y":
            return
        self.endings.left(returned, *self.exception)
