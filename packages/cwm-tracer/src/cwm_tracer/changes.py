"""What each event of a trace changes, which its frames do not say themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cwm_core.trace.frames import Event, Frame
from cwm_tracer.capture.scripts import MODULE


@dataclass(frozen=True, slots=True)
class Step:
    """A frame of a trace, and what is new in it since the frame before of the same activation."""

    index: int
    frame: Frame
    activation: int
    """Index of the call frame with which this stay in the function began; a resumption is one."""
    changed: Mapping[str, str]
    """Names that are new or have another text, with their text; on a call, all."""
    gone: tuple[str, ...]
    """Names that are no longer bound."""


@dataclass(slots=True)
class _Activation:
    index: int
    depth: int
    known: Mapping[str, str]


def steps(frames: Sequence[Frame]) -> list[Step]:
    """Return one step per frame."""
    found: list[Step] = []
    stacks: dict[int, list[_Activation]] = {}
    for index, frame in enumerate(frames):
        stack = stacks.setdefault(frame.thread, [])
        depth = frame.depth or 0
        while stack and stack[-1].depth > depth:
            stack.pop()
        if frame.event is Event.CALL or not stack or stack[-1].depth < depth:
            if frame.event is Event.CALL and stack and stack[-1].depth == depth:
                stack.pop()
            stack.append(_Activation(index, depth, {}))
        found.append(_step(index, frame, stack[-1]))
        if frame.event is Event.RETURN:
            stack.pop()
    return found


def _step(index: int, frame: Frame, activation: _Activation) -> Step:
    if frame.locals is None:
        return Step(index, frame, activation.index, {}, ())
    before = activation.known
    changed = {name: text for name, text in frame.locals.items() if before.get(name) != text}
    gone = tuple(name for name in before if name not in frame.locals)
    # The call of a script shows its input, which is no variable.
    of_script = frame.event is Event.CALL and frame.function == MODULE
    activation.known = {} if of_script else frame.locals
    return Step(index, frame, activation.index, changed, gone)
