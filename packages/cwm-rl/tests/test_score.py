"""Rewards, and scoring stored trajectories with ours and with foreign ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cwm_core.data.records import TRAJECTORY_SCHEMA, trajectory_from_row, trajectory_to_row
from cwm_core.data.shards import ShardWriter, is_finished, read_shards, verify_shards
from cwm_core.env.concurrency import run_sync
from cwm_core.env.environment import Task
from cwm_core.env.reward import Reward
from cwm_core.env.trajectory import Trajectory, Turn, task_metadata, task_of
from cwm_core.errors import CwmError, DataError
from cwm_core.plugins import registry
from cwm_core.trace.codec import render_text
from cwm_core.trace.frames import Event, Frame, Trace
from cwm_rl.cli import app

CONTEXT = "def f(x):  # << START_OF_TRACE\n    y = x + 1\n    return y\n"
FRAMES = (
    Frame(Event.CALL, "def f(x):\n", {"x": "1"}),
    Frame(Event.LINE, "    y = x + 1\n", {"x": "1"}),
    Frame(Event.LINE, "    return y\n", {"x": "1", "y": "2"}),
    Frame(Event.RETURN, "    return y\n", value="2"),
)


def reward(name: str, **fields: Any) -> Reward:
    return registry().make("rewards", name, **fields).build()


def played(task: Task, *actions: str, tokens: int = 0) -> Trajectory:
    ids = (7,) * tokens if tokens else None
    turns = [Turn("prompt", "?"), *[Turn("action", text, token_ids=ids) for text in actions]]
    return Trajectory(task.id, tuple(turns), metadata=task_metadata(task))


def stored(trajectory: Trajectory) -> Trajectory:
    return trajectory_from_row(json.loads(json.dumps(trajectory_to_row(trajectory, "id"))))


def score(scorer: Reward, trajectory: Trajectory) -> float:
    return run_sync(scorer.score(task_of(trajectory), trajectory))


ANSWER = Task("t", {"answer": "42"})


@pytest.mark.parametrize(
    ("actions", "expected"),
    [(["41", "42"], 1.0), ([" 42\n"], 1.0), (["42", "41"], -1.0), (["4 2"], -1.0), ([], -1.0)],
)
def test_exact_match_takes_the_last_action(actions: list[str], expected: float) -> None:
    assert score(reward("exact_match", wrong=-1.0), played(ANSWER, *actions)) == expected


def test_exact_match_options() -> None:
    assert score(reward("exact_match", strip=False), played(ANSWER, " 42")) == 0.0
    other = Task("t", {"output": [1, 2]})
    assert score(reward("exact_match", answer="output"), played(other, "[1, 2]")) == 1.0
    with pytest.raises(DataError, match="has no 'answer'") as caught:
        score(reward("exact_match"), played(other, "x"))
    assert "reward.answer to one of: output" in str(caught.value)


def wire(frames: tuple[Frame, ...], complete: bool = True) -> str:
    """Return the text of the frames after the first, as a model would continue."""
    start = render_text(Trace(CONTEXT, FRAMES[:1], complete=False))
    return render_text(Trace(CONTEXT, frames, complete)).removeprefix(start)


WHOLE = Task("trace", {"context": CONTEXT, "frames": FRAMES})
ONE = Task("trace#2", {"context": CONTEXT, "frames": FRAMES, "frame": 2})
WRONG = replace(FRAMES[2], locals={"x": "1", "y": "3"})
RIGHT_FRAME = wire(FRAMES[:3], complete=False).removeprefix(wire(FRAMES[:2], complete=False))


@pytest.mark.parametrize(
    ("task", "action", "fraction", "exact"),
    [
        (WHOLE, wire(FRAMES), 1.0, 1.0),
        (WHOLE, wire(FRAMES, complete=False), 1.0, 0.0),
        (WHOLE, wire((*FRAMES[:2], WRONG, FRAMES[3])), 1 / 3, 0.0),
        (WHOLE, wire(FRAMES[:3], complete=False), 2 / 3, 0.0),
        (WHOLE, wire((*FRAMES[:3], *FRAMES[1:3], FRAMES[3])), 2 / 5, 0.0),
        (WHOLE, "nonsense", 0.0, 0.0),
        (WHOLE, "", 0.0, 0.0),
        (WHOLE, render_text(Trace(CONTEXT, FRAMES)), 0.0, 0.0),
        (ONE, RIGHT_FRAME, 1.0, 1.0),
        (ONE, "nonsense", 0.0, 0.0),
    ],
)
def test_trace_match(task: Task, action: str, fraction: float, exact: float) -> None:
    for trajectory in (played(task, action), stored(played(task, action))):
        assert score(reward("trace_match"), trajectory) == pytest.approx(fraction)
        assert score(reward("trace_match", mode="exact"), trajectory) == exact


def test_trace_match_needs_frames_and_readable_actions() -> None:
    assert score(reward("trace_match"), played(WHOLE)) == 0.0
    with pytest.raises(DataError, match="has no frames"):
        score(reward("trace_match"), played(ANSWER, "x"))
    with pytest.raises(DataError, match="token ids but no text"):
        score(reward("trace_match"), played(WHOLE, "", tokens=3))


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, 0.0), (60, 0.0), (80, -0.5), (100, -1.0), (500, -1.0)]
)
def test_length_penalty(tokens: int, expected: float) -> None:
    scorer = reward("length_penalty", max_tokens=100, margin_tokens=40)
    assert score(scorer, played(ANSWER, "x", tokens=tokens)) == pytest.approx(expected)


def test_length_penalty_margin_must_fit() -> None:
    with pytest.raises(CwmError, match="margin_tokens"):
        registry().make("rewards", "length_penalty", max_tokens=10, margin_tokens=20)


def write(directory: Path, trajectories: list[Trajectory]) -> Path:
    with ShardWriter(directory, TRAJECTORY_SCHEMA) as writer:
        for index, trajectory in enumerate(trajectories):
            writer.write(trajectory_to_row(trajectory, f"id{index}"))
        writer.finish()
    return directory


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    right, wrong = played(ANSWER, "42"), played(ANSWER, "41")
    cut = replace(wrong, exit_reason="turn_limit", rewards={"environment": 0.5})
    return write(tmp_path / "in", [right, wrong, cut, right])


def run(*arguments: str) -> str:
    answer = CliRunner().invoke(app, ["score", *arguments], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def test_the_command_scores_and_summarises(answers: Path, tmp_path: Path) -> None:
    output = run(f"data={answers}", "reward=exact_match", f"out={tmp_path / 'out'}")
    rows = list(read_shards(tmp_path / "out" / "trajectories"))
    assert [row["trajectory_id"] for row in rows] == ["id0", "id1", "id2", "id3"]
    rewards = [trajectory_from_row(row).rewards for row in rows]
    assert [each["exact_match"] for each in rewards] == [1.0, 0.0, 0.0, 1.0]
    assert rewards[2]["environment"] == 0.5
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == {
        "done": {"count": 3, "mean": pytest.approx(2 / 3)},
        "turn_limit": {"count": 1, "mean": 0.0},
        "all": {"count": 4, "mean": 0.5},
    }
    assert "0.5000" in output
    assert verify_shards(tmp_path / "out" / "trajectories")["rows"] == 4
    assert "nothing to do" in run(
        f"data={answers}", "reward=exact_match", f"out={tmp_path / 'out'}"
    )


def test_options_of_the_reward_and_the_key(answers: Path, tmp_path: Path) -> None:
    options = ["reward=exact_match", "reward.wrong=-1.0", "key=signed"]
    run(f"data={answers}", f"out={tmp_path / 'out'}", *options)
    rewards = [trajectory_from_row(r).rewards for r in read_shards(tmp_path / "out/trajectories")]
    assert [each["signed"] for each in rewards] == [1.0, -1.0, -1.0, 1.0]


def test_an_interrupted_run_is_continued(answers: Path, tmp_path: Path) -> None:
    first = next(read_shards(answers))
    with ShardWriter(tmp_path / "out" / "trajectories", TRAJECTORY_SCHEMA) as writer:
        scored = replace(trajectory_from_row(first), rewards={"exact_match": 1.0})
        writer.write(trajectory_to_row(scored, first["trajectory_id"]))
    run(f"data={answers}", "reward=exact_match", f"out={tmp_path / 'out'}")
    ids = [row["trajectory_id"] for row in read_shards(tmp_path / "out" / "trajectories")]
    assert ids == ["id0", "id1", "id2", "id3"]


def test_what_cannot_be_scored_is_reported_and_costs_no_other(tmp_path: Path) -> None:
    bare = Trajectory("bare", (Turn("action", "42"),))
    data = write(tmp_path / "in", [played(ANSWER, "42"), bare])
    with pytest.raises(CwmError, match=r"not be scored: 1; the first: 'id1'") as caught:
        run(f"data={data}", "reward=exact_match", f"out={tmp_path / 'out'}")
    assert "does not carry its task" in str(caught.value)
    ids = [row["trajectory_id"] for row in read_shards(tmp_path / "out" / "trajectories")]
    assert ids == ["id0"]
    assert not is_finished(tmp_path / "out" / "trajectories")


THEIRS = """
    from cwm_core.components import ComponentConfig
    from cwm_core.hookspecs import hookimpl
    from cwm_core.plugins import Component


    class Shout(ComponentConfig):
        factor: float = 1.0
        \"\"\"Reward per capital letter.\"\"\"

        def build(self):
            return Shouting(self.factor)


    class Shouting:
        def __init__(self, factor):
            self.factor = factor

        async def score(self, task, trajectory):
            return self.factor * sum(letter.isupper() for letter in trajectory.final_text)


    @hookimpl
    def cwm_rewards():
        return [Component("shout", "their_rewards:Shout", "Capital letters.")]
"""


def test_a_foreign_reward_needs_nothing_but_its_distribution(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "their_rewards-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "their_rewards.py").write_text(textwrap.dedent(THEIRS))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-rewards\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cwm]\ntheirs = their_rewards\n")
    data = write(tmp_path / "in", [played(ANSWER, "HEy"), played(ANSWER, "hey")])
    overrides = [f"data={data}", "reward=shout", "reward.factor=2.5", f"out={tmp_path / 'out'}"]
    code = "from cwm_core.cli.main import main; main()"
    command = [sys.executable, "-c", code, "rl", "score", *overrides]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    rows = read_shards(tmp_path / "out" / "trajectories")
    assert [trajectory_from_row(row).rewards["shout"] for row in rows] == [5.0, 0.0]
