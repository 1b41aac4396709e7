"""How a recording ends, said as outcome and reason.

Uses the standard library only: this module runs inside the process of the traced program.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import settrace
from typing import NoReturn

from cwm_tracer.capture.stream import FullError

Finish = Callable[[str, str], NoReturn]


class Endings:
    """The ends that a recorder itself can come to; each ends the process."""

    def __init__(self, finish: Finish, *, steps: int, depth: int) -> None:
        self._finish = finish
        self._steps = steps
        self._depth = depth

    def too_many_steps(self) -> NoReturn:
        """The limit of events is reached."""
        self._finish("step_limit", f"more than {self._steps} events")

    def too_deep(self) -> NoReturn:
        """The limit of nested calls is reached."""
        self._finish("depth_limit", f"more than {self._depth} nested calls")

    def left(self, returned: bool, text: str, memory: bool) -> NoReturn:
        """The entry's own frame was left: by a return, or by the exception of that text."""
        settrace(None)
        if returned:
            outcome, text = "returned", ""
        else:
            outcome = "memory_limit" if memory else "raised"
        self._finish(outcome, text)

    def failed(self, error: BaseException) -> NoReturn:
        """The recorder itself cannot go on."""
        settrace(None)
        outcome, reason = "tracer_lost", f"the recorder failed: {type(error).__name__}: {error}"
        if isinstance(error, FullError):
            outcome, reason = "value_limit", "the trace is larger than allowed"
        elif isinstance(error, MemoryError):
            outcome, reason = "memory_limit", "no memory left while recording"
        self._finish(outcome, reason[:500])
