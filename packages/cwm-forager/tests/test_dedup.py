"""Near-duplicate removal: exact decisions, high recall, resumable, honest counts."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cwm_core.data.records import TRACE_SCHEMA, TRAJECTORY_SCHEMA, trajectory_to_row
from cwm_core.data.shards import ShardWriter, read_shards, verify_shards
from cwm_core.env.environment import Task
from cwm_core.env.trajectory import Trajectory, Turn, task_metadata
from cwm_core.errors import CwmError
from cwm_forager.cli import app
from cwm_forager.dedup import NearDuplicates, actions_text, jaccard, shingle_hashes
from cwm_forager.dedup_run import group_of

WORDS = [f"word{number}" for number in range(2000)]


def text_of(generator: random.Random, length: int = 200) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(length))


def altered(generator: random.Random, text: str, changes: int) -> str:
    words = text.split()
    for place in generator.sample(range(len(words)), changes):
        words[place] = generator.choice(WORDS)
    return " ".join(words)


def reference(first: str, second: str) -> float:
    """Jaccard similarity straight from its definition."""
    a, b = [
        {tuple(words[i : i + 5]) for i in range(len(words) - 4)}
        for words in (first.split(), second.split())
    ]
    return len(a & b) / len(a | b)


@given(st.integers(0, 10_000), st.integers(0, 60))
def test_similarity_equals_its_definition(seed: int, changes: int) -> None:
    generator = random.Random(seed)
    first = text_of(generator, 80)
    second = altered(generator, first, changes)
    expected = reference(first, second)
    assert jaccard(shingle_hashes(first), shingle_hashes(second)) == pytest.approx(expected)


@given(st.text(), st.text())
def test_any_text_is_fine(first: str, second: str) -> None:
    known = NearDuplicates()
    assert known.add("group", "first", first) is None
    match = known.add("group", "second", first)
    assert match is not None
    assert (match.trajectory_id, match.similarity) == ("first", 1.0)
    known.add("group", "third", second)


def test_no_kept_pair_is_similar_and_no_dropped_one_is_not() -> None:
    generator = random.Random(7)
    bases = [text_of(generator) for _ in range(12)]
    texts = {
        f"{base}-{copy}": altered(generator, bases[base], generator.randint(0, 30))
        for base in range(12)
        for copy in range(8)
    }
    known = NearDuplicates(0.5)
    kept: list[str] = []
    for name, text in texts.items():
        match = known.add("group", name, text)
        if match is None:
            kept.append(name)
        else:
            assert match.similarity == pytest.approx(reference(text, texts[match.trajectory_id]))
            assert match.similarity >= 0.5
    pairs = list(combinations(kept, 2))
    similar = [pair for pair in pairs if reference(texts[pair[0]], texts[pair[1]]) >= 0.5]
    assert 12 <= len(kept) < len(texts)
    assert len(similar) <= 1  # banding misses a pair at exactly the threshold once in 270


def test_groups_do_not_meet() -> None:
    known = NearDuplicates()
    assert known.add("left", "a", "one two three four five six") is None
    assert known.add("right", "b", "one two three four five six") is None


def test_only_actions_count() -> None:
    turns = [
        {"role": "prompt", "text": "p"},
        {"role": "action", "text": "a"},
        {"role": "observation", "text": "o"},
        {"role": "action", "text": "b"},
    ]
    assert actions_text(turns) == "a\nb"


def test_the_group_may_stand_in_several_places() -> None:
    assert group_of({"repository": "x"}, "repository") == "x"
    assert group_of({"task": {"metadata": {"repository": "y"}}}, "repository") == "y"
    assert group_of({"task": {"data": {"repository": "z"}}}, "repository") == "z"
    assert group_of({}, "repository") == ""


def trajectory(repository: str, *actions: str) -> Trajectory:
    turns = [Turn("prompt", "Fix it."), *[Turn("action", text) for text in actions]]
    task = Task("task", {"patch": "-"}, {"repository": repository})
    return Trajectory("task", tuple(turns), metadata=task_metadata(task))


def write(directory: Path, trajectories: dict[str, Trajectory]) -> None:
    with ShardWriter(directory, TRAJECTORY_SCHEMA) as writer:
        for name, each in trajectories.items():
            writer.write(trajectory_to_row(each, name))
        writer.finish()


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    generator = random.Random(1)
    first, other = text_of(generator), text_of(generator)
    rows = {
        "a": trajectory("left/pad", first),
        "b": trajectory("left/pad", altered(generator, first, 3)),
        "c": trajectory("left/pad", other),
        "d": trajectory("right/pad", first),
    }
    write(tmp_path / "in", rows)
    return tmp_path


def dedup(directory: Path, *overrides: str) -> str:
    arguments = ["dedup", str(directory / "in"), str(directory / "out"), *overrides]
    answer = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert answer.exit_code == 0
    return answer.output


def kept_ids(directory: Path) -> list[str]:
    rows = read_shards(directory / "out" / "trajectories", ["trajectory_id"])
    return [row["trajectory_id"] for row in rows]


def test_the_command_keeps_and_counts(collected: Path) -> None:
    output = dedup(collected)
    assert kept_ids(collected) == ["a", "c", "d"]
    assert verify_shards(collected / "out" / "trajectories")["rows"] == 3
    report = json.loads((collected / "out" / "report.json").read_text())
    assert (report["read"], report["kept"], report["dropped"]) == (4, 3, 1)
    assert report["groups"]["left/pad"] == {"read": 3, "kept": 2, "dropped": 1}
    (dropped,) = map(json.loads, (collected / "out" / "dropped.jsonl").read_text().splitlines())
    assert (dropped["trajectory_id"], dropped["kept"]) == ("b", "a")
    assert dropped["jaccard"] >= 0.5
    assert "right/pad" in output


def test_kept_rows_are_unchanged(collected: Path) -> None:
    dedup(collected)
    before = {row["trajectory_id"]: row for row in read_shards(collected / "in")}
    for row in read_shards(collected / "out" / "trajectories"):
        assert row == before[row["trajectory_id"]]


def test_a_threshold_of_one_drops_equals_only(collected: Path) -> None:
    dedup(collected, "threshold=1.0")
    assert kept_ids(collected) == ["a", "b", "c", "d"]


def test_an_interrupted_run_is_continued_without_repeats(collected: Path) -> None:
    first = next(read_shards(collected / "in"))
    with ShardWriter(collected / "out" / "trajectories", TRAJECTORY_SCHEMA) as writer:
        writer.write(first)
    dedup(collected)
    assert kept_ids(collected) == ["a", "c", "d"]
    assert "nothing to do" in dedup(collected)


def test_other_shards_are_refused(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "in", TRACE_SCHEMA) as writer:
        writer.write(dict.fromkeys(TRACE_SCHEMA.names))
    with pytest.raises(CwmError, match="holds no trajectories"):
        dedup(tmp_path)


def test_ids_must_be_unique(tmp_path: Path) -> None:
    row = trajectory_to_row(trajectory("left/pad", "x"), "same")
    with ShardWriter(tmp_path / "in", TRAJECTORY_SCHEMA) as writer:
        writer.write(row)
        writer.write(row)
    with pytest.raises(CwmError, match="two trajectories with id 'same'"):
        dedup(tmp_path)
