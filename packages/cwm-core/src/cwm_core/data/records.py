"""The rows of the shards: traces and trajectories, to Parquet and back without loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.errors import DataError
from cwm_core.trace.frames import Event, Frame, Trace

if TYPE_CHECKING:
    import pyarrow as pa

    TRACE_SCHEMA: pa.Schema
    TRAJECTORY_SCHEMA: pa.Schema


class Outcome(StrEnum):
    """How the execution of a traced program ended."""

    RETURNED = "returned"
    """The entry function returned."""
    RAISED = "raised"
    """The entry function was left by an exception."""
    STEP_LIMIT = "step_limit"
    """More events than allowed."""
    DEPTH_LIMIT = "depth_limit"
    """More nested calls than allowed."""
    TIMEOUT = "timeout"
    """Ran for longer than allowed."""
    MEMORY_LIMIT = "memory_limit"
    """Needed more memory than allowed."""
    OUTPUT_LIMIT = "output_limit"
    """Printed more than allowed."""
    VALUE_LIMIT = "value_limit"
    """The trace itself grew larger than allowed."""
    SYNTAX_ERROR = "syntax_error"
    """The source does not compile."""
    LOAD_ERROR = "load_error"
    """The source raised before the entry function was called, or has no such function."""
    EXITED = "exited"
    """The program ended the process (`sys.exit`, `os._exit`)."""
    CRASHED = "crashed"
    """The process died of a signal."""
    FORKED = "forked"
    """The program started another process."""
    TRACER_LOST = "tracer_lost"
    """The program took the tracing away (`sys.settrace`)."""


COMPLETE_OUTCOMES = frozenset({Outcome.RETURNED, Outcome.RAISED})
"""The execution left its entry function; every other trace is cut off."""


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One recorded execution and where it came from; a row of `TRACE_SCHEMA`."""

    trace_id: str
    program_id: str
    split: str
    origin: str
    """The kind of program source, such as ``generated`` or a benchmark's name."""
    entry: str
    """Name of the entry function."""
    input: str
    """Source text of the call's arguments."""
    difficulty: int | None
    constructs: tuple[str, ...]
    """What the program uses, such as ``loop`` or ``recursion``."""
    context: str
    """Source text shown to the model, with the start marker."""
    frames: tuple[Frame, ...]
    outcome: Outcome
    reason: str
    """One sentence on why the trace ended so; empty for ``returned``."""
    stdout: str
    events: int
    """Events that happened, recorded or not."""
    duration_s: float
    python: str
    """Version of the interpreter, such as ``3.11.4``."""

    @property
    def trace(self) -> Trace:
        """The execution alone, of the entry's thread: what another does in between is chance."""
        frames = tuple(frame for frame in self.frames if not frame.thread)
        return Trace(self.context, frames, complete=self.outcome in COMPLETE_OUTCOMES)

    def to_row(self) -> dict[str, Any]:
        """Return the row; lone surrogates, which UTF-8 cannot hold, become backslash escapes."""
        return {
            "trace_id": _utf8(self.trace_id),
            "program_id": _utf8(self.program_id),
            "split": self.split,
            "origin": self.origin,
            "entry": _utf8(self.entry),
            "input": _utf8(self.input),
            "difficulty": self.difficulty,
            "constructs": list(self.constructs),
            "context": _utf8(self.context),
            "frames": [_frame_to_row(frame) for frame in self.frames],
            "outcome": self.outcome.value,
            "reason": _utf8(self.reason),
            "stdout": _utf8(self.stdout),
            "events": self.events,
            "duration_s": self.duration_s,
            "python": self.python,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> TraceRecord:
        """Rebuild a record from a whole row.

        Raises:
            DataError: a column is missing or its content is none of ours.
        """
        try:
            return cls(
                **{name: row[name] for name in cls.__slots__ if name not in _REBUILT},
                constructs=tuple(row["constructs"]),
                frames=frames_from_row(row["frames"]),
                outcome=Outcome(row["outcome"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"row {row.get('trace_id')!r} is no trace record: {error!r}",
                "read all columns of shards that `cwm trace` wrote",
            ) from error


_REBUILT = ("constructs", "frames", "outcome")


def frames_from_row(rows: list[dict[str, Any]]) -> tuple[Frame, ...]:
    """Rebuild frames from the `frames` column of a trace row."""
    return tuple(
        Frame(
            event=_EVENTS[row["event"]],
            source=row["source"],
            locals=None if row["locals"] is None else json.loads(row["locals"]),
            value=row["value"],
            line_number=row["line_number"],
            depth=row["depth"],
            function=row["function"],
            suspended=row["suspended"],
            stdout=row["stdout"],
            track=row["track"],
            thread=row["thread"],
        )
        for row in rows
    )


def frame_to_json(frame: Frame) -> dict[str, Any]:
    """Return a frame as JSON values, as trajectories store the frames of their tasks."""
    fields = {name: getattr(frame, name) for name in Frame.__slots__}
    locals_ = None if frame.locals is None else dict(frame.locals)
    return {**fields, "event": frame.event.value, "locals": locals_}


def frame_from_json(value: Frame | Mapping[str, Any]) -> Frame:
    """Rebuild a frame from `frame_to_json`; frames are returned as they are.

    Raises:
        DataError: the value is no frame.
    """
    if isinstance(value, Frame):
        return value
    try:
        return Frame(**{**value, "event": Event(value["event"])})
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{value!r:.200} is no frame: {error!r}") from error


_encode_json = json.JSONEncoder(default=dict).encode
_EVENTS = {event.value: event for event in Event}


def trajectory_to_row(trajectory: Trajectory, trajectory_id: str) -> dict[str, Any]:
    """Return the row of `TRAJECTORY_SCHEMA`; mappings are stored as JSON, sorted by key.

    Frames in them are stored by `frame_to_json` and tuples as lists.

    Raises:
        DataError: metadata, outcome or rewards hold something that JSON cannot.
    """
    return {
        "trajectory_id": _utf8(trajectory_id),
        "task_id": _utf8(trajectory.task_id),
        "turns": [_turn_to_row(turn) for turn in trajectory.turns],
        "rewards": _json(trajectory.rewards, trajectory_id),
        "outcome": _json(trajectory.outcome, trajectory_id),
        "exit_reason": trajectory.exit_reason,
        "metadata": _json(trajectory.metadata, trajectory_id),
    }


def trajectory_from_row(row: Mapping[str, Any]) -> Trajectory:
    """Rebuild a trajectory from a whole row.

    Raises:
        DataError: a column is missing or its content is none of ours.
    """
    try:
        return Trajectory(
            task_id=row["task_id"],
            turns=tuple(_turn_from_row(turn) for turn in row["turns"]),
            rewards=json.loads(row["rewards"]),
            outcome=json.loads(row["outcome"]),
            exit_reason=row["exit_reason"],
            metadata=json.loads(row["metadata"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"row {row.get('trajectory_id')!r} is no trajectory: {error!r}",
            "read all columns of trajectory shards",
        ) from error


def _frame_to_row(frame: Frame) -> dict[str, Any]:
    values = frame.locals
    return {
        "event": frame.event.value,
        "source": _utf8(frame.source),
        "locals": None if values is None else _encode_json(values),
        "value": None if frame.value is None else _utf8(frame.value),
        "line_number": frame.line_number,
        "depth": frame.depth,
        "function": frame.function,
        "suspended": frame.suspended,
        "stdout": _utf8(frame.stdout),
        "track": frame.track,
        "thread": frame.thread,
    }


def _turn_to_row(turn: Turn) -> dict[str, Any]:
    return {
        "role": turn.role,
        "text": _utf8(turn.text),
        "token_ids": turn.token_ids,
        "logprobs": turn.logprobs,
        "loss_mask": turn.loss_mask,
        "model_versions": turn.model_versions,
    }


def _turn_from_row(row: Mapping[str, Any]) -> Turn:
    return Turn(
        role=row["role"],
        text=row["text"],
        token_ids=None if row["token_ids"] is None else tuple(row["token_ids"]),
        logprobs=None if row["logprobs"] is None else tuple(row["logprobs"]),
        loss_mask=None if row["loss_mask"] is None else tuple(row["loss_mask"]),
        model_versions=_model_versions(row),
    )


def _model_versions(row: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return a version per token; shards written before had one for the whole turn."""
    if "model_versions" not in row and (version := row["model_version"]) is not None:
        return (version,) * len(row["token_ids"] or ())
    versions = row.get("model_versions")
    return None if versions is None else tuple(versions)


def _utf8(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _json(value: Mapping[str, Any], trajectory_id: str) -> str:
    try:
        return json.dumps(dict(value), sort_keys=True, default=_json_default)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"trajectory {trajectory_id!r} cannot be stored: {error}",
            "task data, metadata, outcome and rewards must consist of JSON values",
        ) from error


def _json_default(value: Any) -> Any:
    if isinstance(value, Frame):
        return frame_to_json(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


@cache
def _trace_schema() -> pa.Schema:
    import pyarrow as pa

    frame = pa.struct(
        {
            "event": pa.string(),
            "source": pa.string(),
            "locals": pa.string(),
            "value": pa.string(),
            "line_number": pa.int32(),
            "depth": pa.int32(),
            "function": pa.string(),
            "suspended": pa.bool_(),
            "stdout": pa.string(),
            "track": pa.int32(),
            "thread": pa.int32(),
        }
    )
    return pa.schema(
        {
            "trace_id": pa.string(),
            "program_id": pa.string(),
            "split": pa.string(),
            "origin": pa.string(),
            "entry": pa.string(),
            "input": pa.string(),
            "difficulty": pa.int32(),
            "constructs": pa.list_(pa.string()),
            "context": pa.string(),
            "frames": pa.list_(frame),
            "outcome": pa.string(),
            "reason": pa.string(),
            "stdout": pa.string(),
            "events": pa.int64(),
            "duration_s": pa.float64(),
            "python": pa.string(),
        }
    )


@cache
def _trajectory_schema() -> pa.Schema:
    import pyarrow as pa

    turn = pa.struct(
        {
            "role": pa.string(),
            "text": pa.string(),
            "token_ids": pa.list_(pa.int32()),
            "logprobs": pa.list_(pa.float64()),
            "loss_mask": pa.list_(pa.bool_()),
            "model_versions": pa.list_(pa.int64()),
        }
    )
    return pa.schema(
        {
            "trajectory_id": pa.string(),
            "task_id": pa.string(),
            "turns": pa.list_(turn),
            "rewards": pa.string(),
            "outcome": pa.string(),
            "exit_reason": pa.string(),
            "metadata": pa.string(),
        }
    )


def __getattr__(name: str) -> Any:
    """Build the schemas on first use: they need pyarrow, which imports slowly."""
    if name == "TRACE_SCHEMA":
        return _trace_schema()
    if name == "TRAJECTORY_SCHEMA":
        return _trajectory_schema()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
