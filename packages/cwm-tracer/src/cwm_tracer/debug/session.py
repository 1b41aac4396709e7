"""A debugging session: a place in a story, and the verbs that move it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cwm_core.trace.frames import Event, Frame
from cwm_tracer.debug.breakpoints import Breakpoint, Stops
from cwm_tracer.debug.compare import Difference
from cwm_tracer.debug.evaluate import evaluate
from cwm_tracer.debug.nearest import NONE
from cwm_tracer.debug.places import between, names
from cwm_tracer.debug.story import DebugError, Story
from cwm_tracer.debug.timeline import StackEntry

_BREATH_S = 0.01
"""Seconds after which a long search lets others run."""


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
        after = self.cursor + 1
        return await self._go_on(lambda: after if after < len(self.story.timeline) else NONE)

    async def step_over(self) -> Stop:
        """Go to the next event of this function, or after its return, of its caller.

        Where the next event has to be predicted and is a call, the model predicts what the call
        returns, at once.
        """
        here, ahead = self.cursor, self.cursor + 1
        if await self.story.reach(ahead) and self._skippable(ahead):
            await self.story.reach(ahead + 1, Event.RETURN)
        return await self._go_on(lambda: self.story.timeline.nearest.within(here))

    def _skippable(self, index: int) -> bool:
        """Whether an event is a call from here of which nothing is predicted yet."""
        timeline = self.story.timeline
        return (
            self.story.predicting
            and timeline.frames[index].event is Event.CALL
            and timeline.depths[index] > timeline.depths[self.cursor]
            and index == len(timeline) - 1
        )

    async def step_out(self) -> Stop:
        """Go to where the caller of this function goes on, or to the end."""
        here = self.cursor
        return await self._go_on(lambda: self.story.timeline.nearest.outside(here))

    async def step_back(self) -> Stop:
        """Go to the event before."""
        return await self._go_back(self.cursor - 1)

    async def step_back_over(self) -> Stop:
        """Go to the event before of this function, or from its call, of its caller."""
        return await self._go_back(self.story.timeline.nearest.before(self.cursor))

    async def continue_(self) -> Stop:
        """Go on to the next stop, or to the end."""
        return await self._go_on(lambda: NONE, asking=self.stops.divergences)

    async def reverse_continue(self) -> Stop:
        """Go back to the stop before, or to the first event."""
        return await self._go_back(NONE)

    async def next_divergence(self) -> Stop:
        """Go on to the next event that the model predicts otherwise, or to the end."""
        index, self._paused = self.cursor, False
        while await self.story.reach(index + 1):
            index += 1
            found = await self._divergence(index)
            if found is None and self._paused:
                found = Stop(index, Why.PAUSE)
            if found is not None:
                return self._stand(found)
        return self._stand(self._at_end())

    async def run_to(self, line: int) -> Stop:
        """Go on to the next time that a line runs, else back to the last time before.

        Raises:
            DebugError: it never runs.
        """
        timeline, here = self.story.timeline, self.cursor
        index, self._paused = here, False
        while await self.story.reach(index + 1):
            index = len(timeline) - 1
            found = next(between(timeline.places.line(line), here, len(timeline)), NONE)
            if found >= 0:
                return self._stand(Stop(found, Why.GOTO))
            if self._paused:
                return self._stand(Stop(index, Why.PAUSE))
        found = next(between(timeline.places.line(line), here + 1, NONE), NONE)
        if found < 0:
            raise DebugError(f"line {line} never runs", "choose one that does")
        return self._stand(Stop(found, Why.GOTO))

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

    def _stand(self, stop: Stop) -> Stop:
        self.cursor, self.last = stop.index, stop
        return stop

    async def _go_on(self, target: Callable[[], int], *, asking: bool = False) -> Stop:
        """Go to an event ahead, a stop before it, or the end; `asking`, to a divergence, too.

        `target` returns the event, -1 while it is not in the timeline.
        """
        timeline, index = self.story.timeline, self.cursor
        self._paused = False
        while True:
            known, goal = len(timeline), target()
            found = await self._stop_between(index, known if goal < 0 else goal, asking)
            if found is not None:
                return self._stand(found)
            if goal >= 0:
                return self._stand(Stop(goal, Why.STEP))
            index = known - 1
            if not await self.story.reach(known):
                return self._stand(self._at_end())

    async def _go_back(self, goal: int) -> Stop:
        """Go to an event before, -1 for none, or to a stop after it."""
        self._paused = False
        found = await self._stop_between(self.cursor, goal)
        return self._stand(found or (Stop(goal, Why.STEP) if goal >= 0 else Stop(0, Why.START)))

    def _at_end(self) -> Stop:
        return Stop(len(self.story.timeline) - 1, Why.END, self.story.end_reason)

    async def _stop_between(self, start: int, end: int, asking: bool = False) -> Stop | None:
        """Return the first stop strictly between two events, from `start` on in either direction.

        A long search lets others run now and then, and ends where it is when one of them says so.
        """
        while not self._paused:
            until = time.monotonic() + _BREATH_S
            for index in self._candidates(start, end, asking):
                stop = self._stop_at(index)
                if stop is None and asking:
                    stop = await self._divergence(index)
                if stop is not None:
                    return stop
                if time.monotonic() > until:
                    start = index
                    break
            else:
                return None
            await asyncio.sleep(0)
        return Stop(start, Why.PAUSE)

    def _candidates(self, start: int, end: int, asking: bool) -> Iterable[int]:
        if asking or self.stops.watched:
            step = 1 if start <= end else -1
            return range(start + step, end, step)
        return self.stops.candidates(self.story.timeline.places, start, end)

    def _stop_at(self, index: int) -> Stop | None:
        """Return why a search ends at an event, if it does."""
        timeline, stops = self.story.timeline, self.stops
        frame = timeline.frames[index]
        if frame.event is Event.EXCEPTION and stops.exceptions:
            return Stop(index, Why.EXCEPTION, frame.value or "")
        if frame.event is Event.LINE and stops.lines:
            point = stops.lines.get(timeline.lines[index])
            if point is not None and self._meets(point, index):
                return Stop(index, Why.BREAKPOINT, point.problem)
        if frame.event is Event.CALL and stops.functions:
            for name in names(timeline.function(index)):
                point = stops.functions.get(name)
                if point is not None and self._meets(point, index):
                    return Stop(index, Why.FUNCTION_BREAKPOINT, point.problem or name)
        if stops.watched and frame.locals is not None:
            changed = timeline.changed(index, stops.watched)
            if changed:
                return Stop(index, Why.DATA_BREAKPOINT, ", ".join(sorted(changed)))
        return None

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
