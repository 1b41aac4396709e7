"""The environment `trace_prediction`: continue a program's execution, or tell its next frame."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cwm_core.components import ComponentConfig
from cwm_core.env.environment import Action, Observation, Task, Transition
from cwm_core.errors import DataError
from cwm_core.trace.frames import Frame, Trace

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_core.trace.codec import LenientTrace

_KEYS = ("trace_id", "program_id", "split", "outcome")
_COMPLETE = ("returned", "raised")


class TracePrediction(ComponentConfig):
    """Predict recorded executions, after the context and the entry's call frame."""

    data: Path
    """Directory of trace shards, or a run directory of `cwm trace`."""
    split: str = "test"
    """The split that `tasks` yields when it is asked for none."""
    limit: int | None = None
    """Use this many traces, drawn by `seed`; a larger limit holds all traces of a smaller one."""
    seed: int = 0
    """Chooses the traces when there is a limit."""
    mode: Literal["trace", "frame"] = "trace"
    """`trace`: an action is everything up to the end; `frame`: a task per frame, one frame each."""

    def build(self, tokenizer: Tokenizer | None = None) -> TracePredictionEnvironment:
        """Build the environment; without a tokenizer it shows and reads wire text only."""
        return TracePredictionEnvironment(self, tokenizer)


@dataclass(frozen=True, slots=True)
class TraceState:
    """An episode: the true execution and how many of its frames the prompt shows."""

    trace: Trace
    shown: int
    whole: bool


class TracePredictionEnvironment:
    """Tasks are recorded executions that ran to their end; an episode has one step.

    `step` reports in `info`: ``frames`` (what could be read of the action), ``problems``
    (deviations from the wire format), ``complete`` (ends with the end token), ``valid`` (complete
    and no deviation; how ids split texts and whether unchanged locals are spelled out do not
    matter), ``prefix`` (leading frames that are right), ``output`` (the last frame has the true
    last frame's event and value) and ``exact`` (valid and every frame right). The reward is 1 for
    an exact prediction, 0 for any other.
    """

    def __init__(self, config: TracePrediction, tokenizer: Tokenizer | None = None) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.directory = _shard_directory(config.data)

    def tasks(self, split: str | None = None) -> Iterator[Task]:
        """Yield the tasks in the order of the shards.

        ``metadata["rank"]`` is the trace's place in the order that `seed` draws. Raises `DataError`
        for missing or damaged shards and for a split without complete traces.
        """
        from cwm_core.data.records import TraceRecord
        from cwm_core.data.shards import read_shards

        split = split or self.config.split
        ranks = self._ranks(split)
        for row in read_shards(self.directory, where={"split": split}):
            rank = ranks.pop(row["trace_id"], None)
            if rank is not None and row["outcome"] in _COMPLETE:
                yield from self._of_record(TraceRecord.from_row(row), rank)

    def count(self, split: str | None = None) -> int:
        """Return the number of traces that `tasks` draws on; raises `DataError` as it does."""
        return len(self._ranks(split or self.config.split))

    def _ranks(self, split: str) -> dict[str, int]:
        from cwm_core.data.shards import read_shards

        rows = list(read_shards(self.directory, list(_KEYS)))
        found = {r["trace_id"] for r in rows if r["split"] == split and r["outcome"] in _COMPLETE}
        if not found:
            raise _nothing_to_predict(self.directory, split, rows)
        limit = len(found) if self.config.limit is None else self.config.limit
        drawn = heapq.nsmallest(limit, found, key=self._draw)
        return {trace_id: rank for rank, trace_id in enumerate(drawn)}

    def _draw(self, trace_id: str) -> bytes:
        return hashlib.sha256(f"{self.config.seed}:{trace_id}".encode()).digest()

    def _of_record(self, record: Any, rank: int) -> Iterator[Task]:
        data = {"context": record.context, "frames": record.frames}
        metadata = {
            "program_id": record.program_id,
            "origin": record.origin,
            "entry": record.entry,
            "input": record.input,
            "difficulty": record.difficulty,
            "constructs": list(record.constructs),
            "outcome": str(record.outcome),
            "rank": rank,
        }
        if self.config.mode == "trace":
            yield Task(record.trace_id, data, metadata, record.split)
            return
        for index in range(1, len(record.frames)):
            yield Task(
                f"{record.trace_id}#{index}", {**data, "frame": index}, metadata, record.split
            )

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
        return Transition(state, Observation(), True, float(info["exact"]), info)


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


def _shard_directory(path: Path) -> Path:
    inner = path / "traces"
    return inner if inner.is_dir() and not any(path.glob("*.parquet")) else path


def _nothing_to_predict(directory: Path, split: str, rows: list[dict[str, Any]]) -> DataError:
    splits = Counter(row["split"] for row in rows)
    if not rows:
        return DataError(f"the shards in {directory} hold no traces", "trace programs first")
    if split in splits:
        return DataError(
            f"none of the {splits[split]} traces of split '{split}' in {directory} is complete",
            "trace programs that finish within their limits",
        )
    known = ", ".join(f"{name} ({count})" for name, count in sorted(splits.items()))
    return DataError(f"{directory} has no traces of split '{split}'", f"it has: {known}")
