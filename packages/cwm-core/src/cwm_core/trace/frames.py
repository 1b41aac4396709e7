"""Trace and Frame: one execution as a sequence of actions and observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Event(StrEnum):
    """What `sys.settrace` reported; the value names the wire token (`<|call_sep|>` and so on)."""

    CALL = "call"
    LINE = "line"
    RETURN = "return"
    EXCEPTION = "exception"


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of an execution.

    `locals` maps names to `repr` text, in the order of binding; complete, never diff-coded; a
    mapping on call and line frames, `None` on return and exception frames. `value` is the `repr`
    text of the returned value or of the exception, `None` on call and line frames. `source` is the
    source line with its indentation and trailing newline. A line frame shows the state *before*
    its line runs. The remaining fields never reach the wire and do not take part in equality.
    """

    event: Event
    source: str
    locals: Mapping[str, str] | None = None
    value: str | None = None
    line_number: int | None = field(default=None, compare=False)
    """1-based line in the program's file."""
    depth: int | None = field(default=None, compare=False)
    """Stack depth; the entry function's frame is 0."""
    function: str | None = field(default=None, compare=False)
    """Qualified name of the code object."""
    suspended: bool = field(default=False, compare=False)
    """A yield or await (on a return frame), or the resumption after one (on a call frame)."""
    stdout: str = field(default="", compare=False)
    """What was printed after this event and before the next."""
    track: int = field(default=0, compare=False)
    """The thread or asyncio task: 0 is the entry's, others count in the order of first events."""
    thread: int = field(default=0, compare=False)
    """The thread alone, counted likewise; tasks of one event loop share theirs."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One execution of an entry function.

    `context` is the source text shown to the model, with `START_OF_TRACE` on the entry function's
    `def` line. `complete` is false when a limit cut the execution off: such a trace does not end
    with `<|end_of_text|>`.
    """

    context: str
    frames: tuple[Frame, ...]
    complete: bool = True


START_OF_TRACE = "# << START_OF_TRACE"
