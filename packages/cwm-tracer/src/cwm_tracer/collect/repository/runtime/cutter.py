"""Chooses which calls of a test run become traces: the global trace function.

A call of the repository's own function that happens outside of any trace may become the root of
one; calls inside become part of it as far as the depth and chance allow, and are stepped over
otherwise. Of each function's calls a reservoir of `quota` is kept: the first ones are recorded,
later ones take the place of an earlier one (`slot`) with falling probability, until
`quota * EFFORT` were recorded.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from _thread import get_ident
from types import FrameType
from typing import Any

from cwm_tracer.collect.repository.runtime.activation import Activation
from cwm_tracer.collect.repository.runtime.cut import Cut, is_own
from cwm_tracer.collect.repository.runtime.sink import Sink
from cwm_tracer.collect.repository.runtime.sources import INLINED, Function, SourceFile, Sources

EFFORT = 3
"""Times the quota that may be recorded of a function."""
_REACH = 40
"""Frames between a call and the recorded one below it, at most."""


class Cutter:
    """All traces of one process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.test = ""
        """Id of the test that runs; empty between tests."""
        self._sources = Sources(settings["index"])
        self._sink = Sink(settings["out"], settings["stream_bytes"])
        self._random = random.Random(settings["seed"])
        self._hook = self._call
        self._stacks: dict[int, list[Cut]] = {}
        self._cuts = 0
        self._left = settings["process_events"]
        self._left_of_test = 0
        self._calls_left = 0
        self._children = 0
        self._noted: set[str] = set()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def start(self, test: str) -> None:
        """Begin to watch for calls; refuses where something else traces this thread."""
        if self._left <= 0:
            return
        other = sys.gettrace()
        if other is not None and other != self._hook:
            self.note("another trace function is active", name=_name_of(other))
            return
        self.test = test
        self._left_of_test = self.settings["test_events"]
        self._calls_left = self.settings["patience"]
        if getattr(threading, "_trace_hook", None) is None:
            threading.settrace(self._hook)
        sys.settrace(self._hook)

    def stop(self) -> None:
        """End of the test: traces of this thread that are still open have lost their tracing."""
        self.test = ""
        if sys.gettrace() == self._hook:
            sys.settrace(None)
        elif self._left > 0 and self._left_of_test > 0 and self._calls_left >= 0:
            self.note("a test changed the trace function")
        if getattr(threading, "_trace_hook", None) == self._hook:
            threading.settrace(None)
        for cut in list(self._stacks.get(get_ident(), ())):
            cut.end("tracer_lost", "the program replaced or removed the trace function")

    def note(self, note: str, **more: str) -> None:
        """Leave a remark, once."""
        if note not in self._noted:
            self._noted.add(note)
            try:
                self._sink.note(note, **more)
            except OSError:
                self._left = 0

    def put(self, number: int, text: str) -> None:
        """Hand over records of a trace; after a failure nothing more is recorded."""
        try:
            self._sink.put(number, text)
        except OSError as error:
            self._left = 0
            self.note("the disk refuses", error=str(error))

    def paused(self, cut: Cut) -> None:
        """The root of a trace is suspended: what its thread does now is not part of it."""
        stack = self._stacks.get(cut.thread, [])
        cut.thread = 0
        if cut in stack:
            stack.remove(cut)

    def ended(self, cut: Cut) -> None:
        """Count what a finished trace used."""
        self.paused(cut)
        self._left -= cut.events
        self._left_of_test -= cut.events
        if self._sink.left <= 0:
            self._left = 0

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Decide on a called frame. This runs for every call of the test run: None at once."""
        self._calls_left -= 1
        try:
            if self._calls_left < 0:
                return self._enough()
            file = self._sources[frame.f_code.co_filename]
            return None if file is None else self._consider(frame, file)
        except BaseException as error:
            if not is_own(error):
                raise
            self.note("the recorder failed", error=f"{type(error).__name__}: {error}")
            return None

    def _enough(self) -> None:
        """Leave the rest of the test alone: many calls in a row were not worth a trace."""
        sys.settrace(None)
        for cut in list(self._stacks.get(get_ident(), ())):
            cut.end("step_limit", "too many calls that are stepped over")

    def _consider(self, frame: FrameType, file: SourceFile) -> Any:
        function = file.function(frame.f_code)
        held = getattr(frame.f_trace, "__self__", None)
        if type(held) is Activation:
            return self._resumed(frame, held)
        if not function.nested or not function.fresh(frame):
            return None
        stack = self._stacks.get(get_ident())
        if stack:
            return self._stepped_into(frame, function, stack[-1])
        if function.closed or not self.test:
            return None
        return self._root(frame, function)

    def _root(self, frame: FrameType, function: Function) -> Any:
        if self._left <= 0 or self._left_of_test <= 0:
            sys.settrace(None)
            return None
        slot = self._slot(function)
        if slot is None:
            return None
        self._calls_left = self.settings["patience"]
        self._cuts += 1
        cut = Cut(self, self._cuts, slot, frame)
        self._push(cut)
        activation = None
        try:
            activation = cut.begin(frame, function)
        except BaseException as error:
            cut.failed(error)
        return None if cut.over or activation is None else activation.trace

    def _slot(self, function: Function) -> int | None:
        """Return which of the function's places this call takes; None: it is not recorded."""
        settings = self.settings
        if self._random.random() >= settings["probability"]:
            return None
        quota = settings["quota"]
        slot = function.seen
        function.seen += 1
        if slot >= quota:
            slot = int(self._random.random() * function.seen)
            if slot >= quota:
                return None
        function.taken += 1
        function.closed = function.taken >= quota * EFFORT
        return slot

    def _stepped_into(self, frame: FrameType, function: Function, cut: Cut) -> Any:
        if cut.depth > self.settings["depth"] or not self._is_called_by(frame, cut):
            return None
        if self._random.random() >= self.settings["step_in"]:
            return None
        activation = cut.activation(function)
        try:
            activation.enter(frame, False)
        except BaseException as error:
            cut.failed(error)
        return None if cut.over else activation.trace

    def _is_called_by(self, frame: FrameType, cut: Cut) -> bool:
        """Whether the nearest of the repository's frames below is one that the trace shows."""
        caller = frame.f_back
        for _ in range(_REACH):
            if caller is None:
                return False
            code = caller.f_code
            if self._sources[code.co_filename] is not None and code.co_name not in INLINED:
                held = getattr(caller.f_trace, "__self__", None)
                return type(held) is Activation and held.cut is cut and held.active
            caller = caller.f_back
        return False

    def _resumed(self, frame: FrameType, activation: Activation) -> Any:
        cut = activation.cut
        if cut.over:
            frame.f_trace = None
            return None
        thread = get_ident()
        stack = self._stacks.get(thread)
        if activation is cut.root and not cut.thread:
            self._push(cut)
        elif not stack or stack[-1] is not cut:
            cut.end("tracer_lost", "a part of the call went on outside of it")
            frame.f_trace = None
            return None
        try:
            activation.enter(frame, True)
        except BaseException as error:
            cut.failed(error)
        return None if cut.over else activation.trace

    def _push(self, cut: Cut) -> None:
        cut.thread = get_ident()
        self._stacks.setdefault(cut.thread, []).append(cut)

    def _forked(self) -> None:
        """Leave the parent's traces to it; those that begin here go to a file of their own."""
        for stack in self._stacks.values():
            for cut in stack:
                cut.over = True
        self._stacks.clear()
        self._children += 1
        self._random = random.Random(self.settings["seed"] + self._children)
        self._sink.rename()
        self._cuts = 0


def _name_of(function: Any) -> str:
    kind = type(function)
    module = getattr(function, "__module__", None) or kind.__module__
    return "{}.{}".format(module, getattr(function, "__qualname__", kind.__qualname__))
