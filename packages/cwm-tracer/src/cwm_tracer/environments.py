"""The environment `trace_prediction`: continue a program's execution, or tell its next frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cwm_core.env.environment import Action, Observation, Task, Transition
from cwm_core.trace.frames import Frame, Trace
from cwm_tracer.recorded import RecordedConfig, RecordedEnvironment

if TYPE_CHECKING:
    from cwm_core.data.records import TraceRecord
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_core.trace.codec import LenientTrace


class TracePrediction(RecordedConfig):
    """Predict recorded executions, after the context and the entry's call frame."""

    mode: Literal["trace", "frame"] = "trace"
    """`trace`: an action is everything up to the end; `frame`: a task per frame, one frame each."""

    reward: Literal["exact", "output"] = "exact"
    """What is rewarded: every frame, or the result alone, however it was reached."""

    def build(self, tokenizer: Tokenizer | None = None) -> TracePredictionEnvironment:
        """Build the environment; without a tokenizer it shows and reads wire text only."""
        return TracePredictionEnvironment(self, tokenizer)


@dataclass(frozen=True, slots=True)
class TraceState:
    """An episode: the true execution and how many of its frames the prompt shows."""

    trace: Trace
    shown: int
    whole: bool


class TracePredictionEnvironment(RecordedEnvironment):
    """Tasks are recorded executions that ran to their end; an episode has one step.

    `step` reports in `info`: ``frames`` (what could be read of the action), ``problems``
    (deviations from the wire format), ``complete`` (ends with the end token), ``valid`` (complete
    and no deviation; how ids split texts and whether unchanged locals are spelled out do not
    matter), ``prefix`` (leading frames that are right), ``output`` (the last frame has the true
    last frame's event and value) and ``exact`` (valid and every frame right). The reward is 1 where
    ``exact`` or, if configured so, ``output`` is true, else 0.
    """

    outcomes = ("returned", "raised")

    def __init__(self, config: TracePrediction, tokenizer: Tokenizer | None = None) -> None:
        super().__init__(config)
        self.config = config
        self.tokenizer = tokenizer

    def tasks_of(self, record: TraceRecord, metadata: dict[str, Any]) -> Iterator[Task]:
        """Yield one task for the trace, or one per frame after the first."""
        frames = record.trace.frames
        data = {"context": record.context, "frames": frames}
        if self.config.mode == "trace":
            yield Task(record.trace_id, data, metadata, record.split)
            return
        for index in range(1, len(frames)):
            name = f"{record.trace_id}#{index}"
            yield Task(name, {**data, "frame": index}, metadata, record.split)

    async def start(self, task: Task) -> Transition:
        """Show the context and the frames before the one to predict.

        Raises `CodecError` for an execution that the wire format cannot say.
        """
        from cwm_core.trace.codec import render_ids, render_text

        frames = tuple(task.data["frames"])
        shown = task.data.get("frame", 1)
        state = TraceState(Trace(task.data["context"], frames), shown, "frame" not in task.data)
        prompt = Trace(task.data["context"], frames[:shown], complete=False)
        if self.tokenizer is None:
            observation = Observation(render_text(prompt))
        else:
            observation = Observation(token_ids=tuple(render_ids(prompt, self.tokenizer).ids))
        return Transition(state, observation, done=False)

    async def step(self, state: TraceState, action: Action) -> Transition:
        """Judge a prediction; never raises for what the action holds."""
        from cwm_core.trace.codec import parse_lenient

        before = state.trace.frames[: state.shown]
        if action.token_ids is not None and self.tokenizer is not None:
            read = parse_lenient(action.token_ids, self.tokenizer, before=before)
        else:
            read = parse_lenient(action.text, before=before)
        info = _judge(read, state)
        return Transition(state, Observation(), True, float(info[self.config.reward]), info)


def _judge(read: LenientTrace, state: TraceState) -> dict[str, Any]:
    frames = read.frames if read.context is None else ()
    rest = state.trace.frames[state.shown :]
    truth = rest if state.whole else rest[:1]
    prefix = _common_prefix(frames, truth)
    clean = not read.problems and read.context is None
    return {
        "frames": frames,
        "problems": tuple(str(problem) for problem in read.problems),
        "complete": read.complete,
        "valid": clean and (read.complete or not state.whole),
        "prefix": prefix,
        "output": (read.complete or not state.whole) and _same_result(frames, truth),
        "exact": clean
        and (read.complete or not state.whole)
        and prefix == len(truth) == len(frames),
    }


def _common_prefix(found: tuple[Frame, ...], truth: tuple[Frame, ...]) -> int:
    same = 0
    for left, right in zip(found, truth):
        if left != right:
            break
        same += 1
    return same


def _same_result(found: tuple[Frame, ...], truth: tuple[Frame, ...]) -> bool:
    if not found or truth[-1].value is None:
        return False
    return (found[-1].event, found[-1].value) == (truth[-1].event, truth[-1].value)
