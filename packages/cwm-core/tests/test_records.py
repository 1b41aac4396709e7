"""Records survive the trip through Parquet unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.data.records import (
    TRACE_SCHEMA,
    TRAJECTORY_SCHEMA,
    Outcome,
    TraceRecord,
    frame_from_json,
    trajectory_from_row,
    trajectory_to_row,
)
from cwm_core.data.shards import ShardWriter, read_shards
from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.errors import DataError
from cwm_core.trace.frames import Event, Frame

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LOCATION = {
    "line_number": st.one_of(st.none(), st.integers(1, 10_000)),
    "depth": st.one_of(st.none(), st.integers(0, 1000)),
    "function": st.one_of(st.none(), TEXT),
}
STATE_FRAMES = st.builds(
    Frame,
    event=st.sampled_from([Event.CALL, Event.LINE]),
    source=TEXT,
    locals=st.dictionaries(TEXT, st.text(max_size=20), max_size=4),
    value=st.none(),
    **LOCATION,
)
VALUE_FRAMES = st.builds(
    Frame,
    event=st.sampled_from([Event.RETURN, Event.EXCEPTION]),
    source=TEXT,
    locals=st.none(),
    value=TEXT,
    **LOCATION,
)
RECORDS = st.builds(
    TraceRecord,
    trace_id=TEXT,
    program_id=TEXT,
    split=st.sampled_from(["train", "validation", "test"]),
    origin=TEXT,
    entry=TEXT,
    input=TEXT,
    difficulty=st.one_of(st.none(), st.integers(0, 9)),
    constructs=st.lists(TEXT, max_size=3).map(tuple),
    context=TEXT,
    frames=st.lists(st.one_of(STATE_FRAMES, VALUE_FRAMES), max_size=5).map(tuple),
    outcome=st.sampled_from(Outcome),
    reason=TEXT,
    stdout=TEXT,
    events=st.integers(0, 2**40),
    duration_s=st.floats(0, 1e6),
    python=st.just("3.12.1"),
)
NUMBERS = st.floats(allow_nan=False)
TURNS = st.builds(
    Turn,
    role=st.sampled_from(["prompt", "action", "observation"]),
    text=TEXT,
    token_ids=st.one_of(st.none(), st.lists(st.integers(0, 128_255)).map(tuple)),
    logprobs=st.one_of(st.none(), st.lists(NUMBERS).map(tuple)),
    loss_mask=st.one_of(st.none(), st.lists(st.booleans()).map(tuple)),
    model_versions=st.one_of(st.none(), st.lists(st.integers(0, 10**9)).map(tuple)),
)
JSON = st.dictionaries(
    st.text(max_size=5), st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))
)
TRAJECTORIES = st.builds(
    Trajectory,
    task_id=TEXT,
    turns=st.lists(TURNS, max_size=3).map(tuple),
    rewards=st.dictionaries(st.text(max_size=5), NUMBERS),
    outcome=JSON,
    exit_reason=st.sampled_from(["done", "turn_limit"]),
    metadata=JSON,
)


def everything(frame: Frame) -> tuple[object, ...]:
    """Return all fields: equality leaves out what never reaches the wire."""
    return (frame, frame.line_number, frame.depth, frame.function)


@given(records=st.lists(RECORDS, min_size=1, max_size=4))
def test_trace_records_round_trip(
    records: list[TraceRecord], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("traces")
    with ShardWriter(directory, TRACE_SCHEMA) as writer:
        for record in records:
            writer.write(record.to_row())
    found = [TraceRecord.from_row(row) for row in read_shards(directory)]
    assert found == records
    for before, after in zip(records, found, strict=True):
        assert [everything(f) for f in after.frames] == [everything(f) for f in before.frames]


@given(trajectories=st.lists(TRAJECTORIES, min_size=1, max_size=4))
def test_trajectories_round_trip_to_the_bit(
    trajectories: list[Trajectory], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("trajectories")
    with ShardWriter(directory, TRAJECTORY_SCHEMA) as writer:
        for index, trajectory in enumerate(trajectories):
            writer.write(trajectory_to_row(trajectory, f"t{index}"))
    assert [trajectory_from_row(row) for row in read_shards(directory)] == trajectories


def test_turns_with_one_version_are_still_read() -> None:
    turn = Turn("action", "ab", (1, 2), (-0.5, -0.25), (True, True), (7, 7))
    row = trajectory_to_row(Trajectory("t", (turn, Turn("prompt", ""))), "x")
    for stored, version in zip(row["turns"], (7, None)):
        del stored["model_versions"]
        stored["model_version"] = version
    assert trajectory_from_row(row).turns == (turn, Turn("prompt", ""))


def make_record(**changes: object) -> TraceRecord:
    fields: dict[str, object] = {
        "trace_id": "t",
        "program_id": "p",
        "split": "train",
        "origin": "generated",
        "entry": "f",
        "input": "1",
        "difficulty": None,
        "constructs": (),
        "context": "",
        "frames": (),
        "outcome": Outcome.RETURNED,
        "reason": "",
        "stdout": "",
        "events": 0,
        "duration_s": 0.0,
        "python": "3.12.1",
    }
    return TraceRecord(**(fields | changes))  # type: ignore[arg-type]


def test_lone_surrogates_are_written_as_escapes(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, TRACE_SCHEMA) as writer:
        writer.write(make_record(stdout="é\udc80").to_row())
    assert next(read_shards(tmp_path))["stdout"] == "é\\udc80"


@pytest.mark.parametrize("outcome", Outcome)
def test_only_a_left_entry_function_makes_a_complete_trace(outcome: Outcome) -> None:
    complete = outcome in {Outcome.RETURNED, Outcome.RAISED}
    assert make_record(outcome=outcome).trace.complete is complete


def test_foreign_rows_are_refused() -> None:
    with pytest.raises(DataError, match="is no trace record"):
        TraceRecord.from_row({"trace_id": "t"})
    with pytest.raises(DataError, match="is no trace record"):
        TraceRecord.from_row(make_record().to_row() | {"outcome": "vanished"})
    with pytest.raises(DataError, match="is no trajectory"):
        trajectory_from_row({"trajectory_id": "t"})


def test_what_json_cannot_hold_is_refused() -> None:
    trajectory = Trajectory("task", (), metadata={"handle": object()})
    with pytest.raises(DataError, match="'id' cannot be stored"):
        trajectory_to_row(trajectory, "id")


@given(frame=st.one_of(STATE_FRAMES, VALUE_FRAMES))
def test_frames_in_a_task_survive_storage(frame: Frame) -> None:
    trajectory = Trajectory("task", (), metadata={"task": {"data": {"frames": (frame,)}}})
    stored = trajectory_from_row(trajectory_to_row(trajectory, "id"))
    (found,) = stored.metadata["task"]["data"]["frames"]
    assert everything(frame_from_json(found)) == everything(frame)
    assert frame_from_json(frame) is frame


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(DataError, match="is no frame"):
        frame_from_json({"event": "jump", "source": ""})


def test_datasets_loads_trace_records(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the datasets library")
    frame = Frame(Event.CALL, "def f(x):\n", {"x": "1"}, line_number=1, depth=0, function="f")
    record = make_record(frames=(frame,))
    with ShardWriter(tmp_path / "shards", TRACE_SCHEMA) as writer:
        writer.write(record.to_row())
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "shards" / "*.parquet"),
        cache_dir=str(tmp_path / "cache"),
        split="train",
    )
    assert TraceRecord.from_row(loaded[0]) == record
