"""A debugging session: a place in a story, and the verbs that move it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cwm_core.trace.frames import Event, Frame
from cwm_tracer.debug.breakpoints import Breakpoint, Stops
from cwm_tracer.debug.compare import Difference
from cwm_tracer.debug.evaluate import evaluate
from cwm_tracer.debug.story import DebugError, Story
from cwm_tracer.debug.timeline import StackEntry

_BREATH = 2_000
"""Events after which a long search lets others run."""


class Why(StrEnum):
    """Why a session stands where it does."""

    ENTRY = "entry"
    STEP = "step"
    BREAKPOINT = "breakpoint"
    FUNCTION_BREAKPOINT = "function breakpoint"
    DATA_BREAKPOINT = "data breakpoint"
    EXCEPTION = "exception"
    DIVERGENCE = "divergence"
    GOTO = "goto"
    PAUSE = "pause"
    START = "start"
    """Going back, the first event was reached."""
    END = "end"
    """The execution ends here."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a verb ended."""

    index: int
    why: Why
    text: str = ""


class Session:
    """Moves through a story, one event at a time or many."""

    def __init__(self, story: Story, log: Callable[[str], None] = print) -> None:
        """`log` is given what log points say."""
        self.story = story
        self.stops = Stops()
        self.cursor = 0
        self.last = Stop(0, Why.ENTRY)
        self._log = log
        self._paused = False

    # What there is to see

    @property
    def frame(self) -> Frame:
        """The event where the session stands."""
        return self.story.timeline.frames[self.cursor]

    @property
    def line(self) -> int:
        """Its line, from 1."""
        return self.story.timeline.lines[self.cursor]

    def stack(self) -> list[StackEntry]:
        """Return the functions under way, the innermost first."""
        return self.story.timeline.stack(self.cursor)

    def state(self, index: int | None = None) -> Mapping[str, str]:
        """Return the locals at an event, by default at this one."""
        return self.story.timeline.state(self.cursor if index is None else index)

    def evaluate(self, expression: str, index: int | None = None) -> str:
        """Return the text of an expression over the locals; raises `EvaluationError`."""
        return evaluate(expression, self.state(index))

    async def differences(self) -> list[Difference]:
        """Return where the model's prediction of this event differs from it."""
        return await self.story.differences(self.cursor)

    async def set_variable(self, name: str, text: str) -> None:
        """Set a local here; what follows is predicted from it. Raises `DebugError`."""
        await self.story.edit(self.cursor, name, text)

    # Verbs

    def pause(self) -> None:
        """Make a verb that is under way stop where it is."""
        self._paused = True

    async def step_in(self) -> Stop:
        """Go to the next event."""
        return await self._forward(lambda index: True)

    async def step_over(self) -> Stop:
        """Go to the next event of this function, or after its return, of its caller.

        Where the next event has to be predicted and is a call, the model predicts what the call
        returns, at once.
        """
        depth = self._depth(self.cursor)
        timeline = self.story.timeline
        ahead = self.cursor + 1
        if await self.story.reach(ahead) and self._skippable(ahead, depth):
            await self.story.reach(ahead + 1, Event.RETURN)
        return await self._forward(lambda index: timeline.depths[index] <= depth)

    def _skippable(self, index: int, depth: int) -> bool:
        """Whether an event is a call from here of which nothing is predicted yet."""
        timeline = self.story.timeline
        return (
            self.story.predicting
            and timeline.frames[index].event is Event.CALL
            and timeline.depths[index] > depth
            and index == len(timeline) - 1
        )

    async def step_out(self) -> Stop:
        """Go to where the caller of this function goes on, or to the end."""
        depth = self._depth(self.cursor)
        depths = self.story.timeline.depths
        return await self._forward(lambda index: depths[index] < depth)

    def step_back(self) -> Stop:
        """Go to the event before."""
        return self._backward(lambda index: True)

    def step_back_over(self) -> Stop:
        """Go to the event before of this function, or from its call, of its caller."""
        depth = self._depth(self.cursor)
        depths = self.story.timeline.depths
        return self._backward(lambda index: depths[index] <= depth)

    async def continue_(self) -> Stop:
        """Go on to the next stop, or to the end."""
        return await self._search(+1)

    async def reverse_continue(self) -> Stop:
        """Go back to the stop before, or to the first event."""
        return await self._search(-1)

    async def next_divergence(self) -> Stop:
        """Go on to the next event that the model predicts otherwise, or to the end."""
        index = self.cursor
        self._paused = False
        while not self._paused and await self.story.reach(index + 1):
            index += 1
            found = await self._divergence(index)
            if found is not None:
                return self._stand(found)
        return self._stand(self._at_end(index))

    async def run_to(self, line: int) -> Stop:
        """Go on to the next time that a line runs, else back to the last time before.

        Raises:
            DebugError: it never runs.
        """
        lines, frames = self.story.timeline.lines, self.story.timeline.frames
        index = self.cursor
        while await self.story.reach(index + 1):
            index += 1
            if lines[index] == line and frames[index].event is Event.LINE:
                return self._stand(Stop(index, Why.GOTO))
        for index in range(self.cursor, -1, -1):
            if lines[index] == line and frames[index].event is Event.LINE:
                return self._stand(Stop(index, Why.GOTO))
        raise DebugError(f"line {line} never runs", "choose one that does")

    def go(self, index: int, why: Why = Why.GOTO) -> Stop:
        """Go to an event that is there; raises `DebugError` for another."""
        if not 0 <= index < len(self.story.timeline):
            raise DebugError(f"there is no event {index}", f"0 to {len(self.story.timeline) - 1}")
        return self._stand(Stop(index, why))

    def restart(self) -> Stop:
        """Go back to the first event and count hits anew."""
        self.stops.forget_hits()
        return self._stand(Stop(0, Why.ENTRY))

    # How

    def _depth(self, index: int) -> int:
        return self.story.timeline.depths[index]

    def _stand(self, stop: Stop) -> Stop:
        self.cursor, self.last = stop.index, stop
        return stop

    def _at_end(self, index: int) -> Stop:
        if self._paused:
            return Stop(index, Why.PAUSE)
        return Stop(index, Why.END, self.story.end_reason)

    async def _forward(self, wanted: Callable[[int], bool]) -> Stop:
        index = self.cursor
        timeline, stops = self.story.timeline, self.stops
        self._paused = False
        while not self._paused:
            index += 1
            if index >= len(timeline) and not await self.story.reach(index):
                return self._stand(self._at_end(index - 1))
            if wanted(index):
                return self._stand(Stop(index, Why.STEP))
            if stops.lines and self._breaks(index):
                return self._stand(Stop(index, Why.BREAKPOINT))
        return self._stand(self._at_end(index))

    def _backward(self, wanted: Callable[[int], bool]) -> Stop:
        for index in range(self.cursor - 1, -1, -1):
            if wanted(index):
                return self._stand(Stop(index, Why.STEP))
        return self._stand(Stop(0, Why.START))

    async def _search(self, direction: int) -> Stop:
        index = self.cursor
        self._paused = False
        while not self._paused:
            index += direction
            if index < 0:
                return self._stand(Stop(0, Why.START))
            if index >= len(self.story.timeline) and not await self.story.reach(index):
                return self._stand(self._at_end(index - 1))
            stop = self._stop_at(index)
            if stop is None and self.stops.divergences and direction > 0:
                stop = await self._divergence(index)
            if stop is not None:
                return self._stand(stop)
            if index % _BREATH == 0:
                await asyncio.sleep(0)
        return self._stand(Stop(index, Why.PAUSE))

    def _stop_at(self, index: int) -> Stop | None:
        """Return why a search ends at an event, if it does."""
        frame = self.story.timeline.frames[index]
        if frame.event is Event.EXCEPTION and self.stops.exceptions:
            return Stop(index, Why.EXCEPTION, frame.value or "")
        if self._breaks(index):
            return Stop(index, Why.BREAKPOINT)
        if frame.event is Event.CALL and self.stops.functions:
            name = self.story.timeline.function(index)
            for key in (name, name.rpartition(".")[2]):
                if key in self.stops.functions and self._meets(self.stops.functions[key], index):
                    return Stop(index, Why.FUNCTION_BREAKPOINT, name)
        if self.stops.watched and frame.locals is not None:
            changed = self.stops.watched & self.story.timeline.changed(index)
            if changed:
                return Stop(index, Why.DATA_BREAKPOINT, ", ".join(sorted(changed)))
        return None

    def _breaks(self, index: int) -> bool:
        if not self.stops.lines:
            return False
        point = self.stops.lines.get(self.story.timeline.lines[index])
        if point is None or self.story.timeline.frames[index].event is not Event.LINE:
            return False
        return self._meets(point, index)

    def _meets(self, point: Breakpoint, index: int) -> bool:
        state = self.state(index)
        if not point.meets(state):
            return False
        if point.log_message:
            self._log(point.message(state))
            return False
        return True

    async def _divergence(self, index: int) -> Stop | None:
        found = await self.story.differences(index)
        return Stop(index, Why.DIVERGENCE, "; ".join(map(str, found))) if found else None
