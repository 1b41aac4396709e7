"""What a session moves through: an execution, a model's prediction, or one beside the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from cwm_core.errors import CwmError
from cwm_core.trace.frames import Event, Frame
from cwm_tracer.debug.compare import Difference, differences
from cwm_tracer.debug.locate import SourceMap
from cwm_tracer.debug.predict import Prediction, Predictor
from cwm_tracer.debug.timeline import Timeline

Mode = Literal["executed", "predicted", "both"]


class DebugError(CwmError):
    """A request that cannot be met here."""


class Story:
    """Events that are there, or are predicted as they are asked for.

    executed: the recorded events. predicted: the call event, and what the model makes of it, each
    event predicted from those predicted before. both: the recorded events, and for each what the
    model predicts from the recorded events before it. A local can be set where there is a model:
    from there on all events are predicted.
    """

    def __init__(
        self,
        context: str,
        frames: Sequence[Frame],
        *,
        predictor: Predictor | None = None,
        mode: Mode = "executed",
        max_events: int = 10_000,
        end_reason: str = "",
    ) -> None:
        """`frames` are the recorded events; for `predicted`, the first is enough. `end_reason`
        says why they end where they do, such as a limit that was reached.

        Raises:
            DebugError: there is no event, or a mode wants a model and there is none.
        """
        if not frames:
            raise DebugError("nothing was recorded", "see `cwm trace` for why the program ends")
        if mode != "executed" and predictor is None:
            raise DebugError(
                f"mode={mode} needs a model", "give engine=local engine.checkpoint=DIR"
            )
        self.mode = mode
        self._predictor = predictor
        self._max_events = max_events
        self._branched = mode == "predicted"
        self._predictions: dict[int, Prediction] = {}
        self._edited: dict[int, set[str]] = {}
        self._lock = asyncio.Lock()
        self.ended = not self._branched
        """Whether the last event of `timeline` is the last of all."""
        self.end_reason = "" if self._branched else end_reason
        """Why the execution or the prediction goes no further; empty where it just ends."""
        self.timeline = Timeline(SourceMap(context))
        self.timeline.extend(frames[:1] if self._branched else frames)

    @property
    def predicting(self) -> bool:
        """Whether events beyond those in `timeline` are made by the model."""
        return self._branched

    @property
    def has_model(self) -> bool:
        """Whether there is a model to ask."""
        return self._predictor is not None

    def edited(self, index: int) -> set[str]:
        """Names of the locals that were set by hand at an event."""
        return self._edited.get(index, set())

    async def reach(self, index: int, force: Event | None = None) -> bool:
        """Have event `index` in the timeline; False where the execution ends before it.

        `force` is the kind of event where this one has to be predicted.

        Raises:
            EngineError: the model cannot be asked.
        """
        if index < len(self.timeline):
            return True
        async with self._lock:
            while index >= len(self.timeline) and not self.ended:
                await self._predict_on(force)
        return index < len(self.timeline)

    async def _predict_on(self, force: Event | None) -> None:
        assert self._predictor is not None
        index = len(self.timeline)
        if index >= self._max_events:
            self.ended, self.end_reason = True, f"more than {self._max_events} events"
            return
        made = await self._predictor.next(self.timeline.frames, force)
        self._predictions[index] = made
        frame = made.frame
        if frame is None or not _well_formed(frame):
            self.ended = True
            self.end_reason = "; ".join(made.problems)
            return
        self.timeline.append(frame)
        if frame.event is Event.RETURN and self.timeline.depths[-1] == self.timeline.depths[0]:
            self.ended = True

    async def prediction(self, index: int) -> Prediction | None:
        """Return what the model predicts for an event; None without a model, and for the first.

        Raises:
            EngineError: the model cannot be asked.
        """
        if self._predictor is None or index < 1:
            return None
        async with self._lock:
            if index not in self._predictions and index <= len(self.timeline):
                before = self.timeline.frames[:index]
                self._predictions[index] = await self._predictor.next(before)
        return self._predictions.get(index)

    def known_prediction(self, index: int) -> Prediction | None:
        """Return a prediction that was already made."""
        return self._predictions.get(index)

    async def differences(self, index: int) -> list[Difference]:
        """Return where the prediction of an executed event differs from it.

        Empty where there is nothing to compare: without a model, or beyond an edit.
        """
        if self._branched or not self.has_model or index < 1:
            return []
        made = await self.prediction(index)
        return [] if made is None else differences(self.timeline.frames[index], made.frame)

    async def edit(self, index: int, name: str, text: str) -> None:
        """Set a local at an event; what followed is forgotten, and predicted from there on.

        Raises:
            DebugError: there is no model, or the event shows no such local.
        """
        if self._predictor is None:
            raise DebugError(
                "a recorded execution cannot be changed",
                "with a model it can be predicted on: engine=local engine.checkpoint=DIR",
            )
        shown = self.timeline.frames[index].locals
        if shown is None or name not in shown:
            raise DebugError(
                f"no local {name!r} to set at this event",
                "go to a line or call event of its function",
            )
        async with self._lock:
            self.timeline.cut(index + 1)
            frame = self.timeline.frames[index]
            self.timeline.replace_last(replace(frame, locals={**shown, name: text}))
            for made in [each for each in self._predictions if each > index]:
                del self._predictions[made]
            self._edited = {at: names for at, names in self._edited.items() if at <= index}
            self._edited.setdefault(index, set()).add(name)
            self._branched, self.ended, self.end_reason = True, False, ""


def _well_formed(frame: Frame) -> bool:
    """Whether an event can be told to the model again."""
    if frame.event in (Event.CALL, Event.LINE):
        return frame.locals is not None and frame.value is None
    return frame.locals is None and frame.value is not None
