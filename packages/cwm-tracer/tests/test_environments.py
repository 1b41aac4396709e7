from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cwm_core.data.records import TRACE_SCHEMA, Outcome, TraceRecord
from cwm_core.data.shards import ShardWriter
from cwm_core.env.environment import Action, Environment, Task, Transition
from cwm_core.errors import DataError
from cwm_core.plugins import registry
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_core.trace.codec import render_ids, render_text
from cwm_core.trace.frames import Event, Frame, Trace

FRAMES = (
    Frame(Event.CALL, "def f(n):\n", {"n": "1"}),
    Frame(Event.LINE, "    m = n + 1\n", {"n": "1"}),
    Frame(Event.LINE, "    return m\n", {"n": "1", "m": "2"}),
    Frame(Event.RETURN, "    return m\n", None, "2"),
)
RECORD = TraceRecord(
    "t0", "p0", "test", "handmade", "f", "1", 3, ("arithmetic",),
    "def f(n):  # << START_OF_TRACE\n    m = n + 1\n    return m\n",
    FRAMES, Outcome.RETURNED, "", "", 4, 0.0, "3.11",
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(["def f(n):"], 273)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write(
        tmp_path / "traces",
        [
            *(replace(RECORD, trace_id=f"t{i}") for i in range(6)),
            replace(RECORD, trace_id="trained", split="train"),
            replace(RECORD, trace_id="cut", outcome=Outcome.STEP_LIMIT),
        ],
    )


def write(directory: Path, records: list[TraceRecord]) -> Path:
    with ShardWriter(directory, TRACE_SCHEMA) as writer:
        for record in records:
            writer.write(record.to_row())
        writer.finish()
    return directory


def make(data: Path, tokenizer: Tokenizer | None = None, **fields: Any) -> Any:
    config = registry().make("environments", "trace_prediction", data=data, **fields)
    return config.build(tokenizer)


def play(environment: Any, task: Task, action: Action) -> tuple[Transition, Transition]:
    async def episode() -> tuple[Transition, Transition]:
        first = await environment.start(task)
        return first, await environment.step(first.state, action)

    return asyncio.run(episode())


def rest(tokenizer: Tokenizer, trace: Trace = RECORD.trace) -> tuple[int, ...]:
    encoded = render_ids(trace, tokenizer)
    return tuple(encoded.ids[encoded.prompt_length :])


def test_tasks_are_the_complete_traces_of_a_split(shards: Path) -> None:
    environment = make(shards)
    assert isinstance(environment, Environment)
    tasks = list(environment.tasks("test"))
    assert [t.id for t in tasks] == [f"t{i}" for i in range(6)]
    assert [t.id for t in environment.tasks("train")] == ["trained"]
    assert sorted(t.metadata["rank"] for t in tasks) == list(range(6))
    assert tasks[0].metadata["program_id"] == "p0" and tasks[0].metadata["outcome"] == "returned"
    assert environment.count("test") == 6


def test_prompt_is_context_and_first_call(shards: Path, tokenizer: Tokenizer) -> None:
    environment = make(shards, tokenizer)
    task = next(environment.tasks("test"))
    first, _ = play(environment, task, Action(token_ids=()))
    encoded = render_ids(RECORD.trace, tokenizer)
    assert first.observation.token_ids == tuple(encoded.ids[: encoded.prompt_length])
    assert not first.done


def test_the_truth_is_exact(shards: Path, tokenizer: Tokenizer) -> None:
    environment = make(shards, tokenizer)
    task = next(environment.tasks("test"))
    _, last = play(environment, task, Action(token_ids=rest(tokenizer)))
    assert last.done and last.reward == 1.0
    assert last.info["frames"] == FRAMES[1:] and last.info["prefix"] == 3
    assert last.info["exact"] and last.info["valid"] and last.info["output"]
    assert last.info["problems"] == ()


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ((*FRAMES[:3], replace(FRAMES[3], value="3")), {"valid": 1, "prefix": 2, "output": 0}),
        ((*FRAMES[:2], FRAMES[3]), {"valid": 1, "prefix": 1, "output": 1}),
        ((*FRAMES, FRAMES[3]), {"valid": 1, "prefix": 3, "output": 1}),
    ],
)
def test_wrong_predictions(
    shards: Path, tokenizer: Tokenizer, frames: tuple[Frame, ...], expected: dict[str, int]
) -> None:
    environment = make(shards, tokenizer)
    action = Action(token_ids=rest(tokenizer, replace(RECORD.trace, frames=frames)))
    _, last = play(environment, next(environment.tasks("test")), action)
    assert last.reward == 0.0 and not last.info["exact"]
    assert {key: last.info[key] for key in expected} == expected


def test_without_the_end_token_nothing_is_exact(shards: Path, tokenizer: Tokenizer) -> None:
    environment = make(shards, tokenizer)
    action = Action(token_ids=rest(tokenizer)[:-1])
    _, last = play(environment, next(environment.tasks("test")), action)
    info = last.info
    assert info["prefix"] == 3
    assert not (info["exact"] or info["valid"] or info["output"] or info["complete"])


def test_spelling_unchanged_locals_out_is_no_mistake(shards: Path, tokenizer: Tokenizer) -> None:
    environment = make(shards, tokenizer)
    encoded = render_ids(RECORD.trace, tokenizer, diff=False)
    action = Action(token_ids=tuple(encoded.ids[encoded.prompt_length :]))
    assert play(environment, next(environment.tasks("test")), action)[1].reward == 1.0


def test_text_without_a_tokenizer(shards: Path) -> None:
    environment = make(shards)
    task = next(environment.tasks("test"))
    first, _ = play(environment, task, Action())
    whole = render_text(RECORD.trace)
    assert first.observation.token_ids is None and whole.startswith(first.observation.text)
    _, last = play(environment, task, Action(whole[len(first.observation.text) :]))
    assert last.reward == 1.0


def test_next_frame_mode_has_a_task_per_frame(shards: Path, tokenizer: Tokenizer) -> None:
    environment = make(shards, tokenizer, mode="frame", limit=1)
    tasks = list(environment.tasks("test"))
    assert [t.id.partition("#")[2] for t in tasks] == ["1", "2", "3"]
    encoded = render_ids(RECORD.trace, tokenizer)
    for task in tasks:
        where = [t for t, f in enumerate(encoded.frame_index) if f == task.data["frame"]]
        frame = tuple(encoded.ids[where[0] : where[-1] + 1])
        first, last = play(environment, task, Action(token_ids=frame))
        assert first.observation.token_ids == tuple(encoded.ids[: where[0]])
        assert last.reward == 1.0 and last.done
        assert play(environment, task, Action(token_ids=frame + frame))[1].reward == 0.0
        assert play(environment, task, Action(token_ids=frame[:-1]))[1].reward == 0.0


def test_episodes_can_be_branched(shards: Path, tokenizer: Tokenizer) -> None:
    environment = make(shards, tokenizer)

    async def twice() -> list[float | None]:
        first = await environment.start(next(environment.tasks("test")))
        actions = (Action(token_ids=()), Action(token_ids=rest(tokenizer)))
        return [(await environment.step(first.state, action)).reward for action in actions]

    assert asyncio.run(twice()) == [0.0, 1.0]


@given(ids=st.lists(st.integers(-5, 400), max_size=60))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ids_are_judged(shards: Path, tokenizer: Tokenizer, ids: list[int]) -> None:
    environment = make(shards, tokenizer)
    task = Task("t", {"context": RECORD.context, "frames": FRAMES})
    _, last = play(environment, task, Action(token_ids=tuple(ids)))
    assert last.done and last.reward == float(tuple(ids) == rest(tokenizer))


def test_limit_draws_by_seed_and_nests(shards: Path) -> None:
    def drawn(**fields: Any) -> set[str]:
        return {task.id for task in make(shards, **fields).tasks()}

    assert drawn(limit=2) < drawn(limit=4) < drawn()
    assert drawn(limit=3) == drawn(limit=3)
    assert {frozenset(drawn(limit=3, seed=s)) for s in range(8)} != {frozenset(drawn(limit=3))}


def test_run_directories_of_the_tracer_are_understood(shards: Path) -> None:
    assert make(shards.parent).count("test") == 6


def test_missing_and_unusable_data(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        make(tmp_path / "nowhere").count()
    with pytest.raises(DataError, match=r"it has: test \(7\), train \(1\)"):
        make(shards).count("validation")
    cut = write(tmp_path / "cut", [replace(RECORD, outcome=Outcome.TIMEOUT)])
    with pytest.raises(DataError, match="none of the 1 traces"):
        make(cut).count("test")
