"""The whole loop against a real HTTP server: one that fails, stalls and talks nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forager_repository import libraries, shapes_instance
from model_server import ModelServer, Trouble, running

from cwm_core.data.records import trajectory_from_row
from cwm_core.data.shards import read_shards
from cwm_core.env.trajectory import Trajectory
from cwm_core.sandbox import bubblewrap
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_forager.tasks.instance import write_instances

pytestmark = pytest.mark.skipif(
    bubblewrap.why_not() is not None, reason=f"no isolation here: {bubblewrap.why_not()}"
)
EDIT = (
    "shapes/__init__.py\n<<<<<<< SEARCH\n    return width + height\n=======\n"
    "    return width * height\n>>>>>>> REPLACE"
)
REPAIR = [("edit", EDIT), ("bash", "git diff > .git/p"), ("submit", ".git/p")]
ACTIONS = [f"Now.\n<tool: {name}>\n{content}\n</tool>" for name, content in REPAIR]
NONSENSE = "The quick brown fox. <tool: bash>\nnever ends"


def reply(prompt: str) -> str:
    """Repair; in the second task, talk nonsense first."""
    turn = prompt.count("<|start_header_id|>assistant<|end_header_id|>") - 1
    actions = [NONSENSE, *ACTIONS] if "Task number 1." in prompt else ACTIONS
    return [*actions, "## Done"][min(turn, len(actions))]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(["def area(width, height): return width * height\n"] * 20, 700)


@pytest.fixture
def line(tmp_path: Path, tokenizer: Tokenizer) -> list[str]:
    """`cwm forage run` on three tasks with the agent `llm`, but for the server."""
    tokenizer.save(tmp_path / "tokenizer")
    instances = [
        shapes_instance(tmp_path, id=f"shapes-{n}", problem_statement=f"Task number {n}.")
        for n in range(3)
    ]
    write_instances(tmp_path / "tasks.jsonl", instances)
    return [
        *["forage", "run", "out", "environment=swe", "environment.tasks=tasks.jsonl"],
        *["environment.sandbox=local", f"environment.sandbox.read_only=[{libraries()}]"],
        *["environment.format_errors=answered", "tokenizer=tokenizer", "concurrency=2"],
        *["agents.m.name=llm", "agents.m.tokenizer=tokenizer", "agents.m.max_tokens=500"],
        "engine=openai",
    ]


def played(directory: Path) -> dict[str, Trajectory]:
    rows = read_shards(directory / "trajectories")
    return {row["trajectory_id"]: trajectory_from_row(row) for row in rows}


def test_a_server_in_trouble(
    line: list[str], tokenizer: Tokenizer, tmp_path: Path, cwm_cli: Any
) -> None:
    troubles: dict[int, Trouble] = {0: "fail", 3: "stall", 5: "cut", 8: "html"}
    with running(ModelServer(tokenizer, reply, troubles)) as server:
        settings = [f"engine.base_url={server.url}", "engine.timeout_s=8", "engine.retries=6"]
        done = cwm_cli(*line, *settings)
        prompts = [tuple(prompt) for prompt in server.prompts]
    assert done.returncode == 0, done.stderr
    assert sorted(server.had) == ["cut", "fail", "html", "stall"]
    found = played(tmp_path / "out")
    assert sorted(found) == [f"shapes-{n}#m#0" for n in range(3)]
    for name, trajectory in found.items():
        assert trajectory.outcome["resolved"], trajectory.outcome
        assert trajectory.outcome["format_errors"] == (name == "shapes-1#m#0")
        whole: tuple[int, ...] = ()
        for turn in trajectory.turns:
            if turn.role == "action":
                assert whole in prompts
            whole += tuple(turn.token_ids or ())
        assert all(action.logprobs for action in trajectory.actions)


def test_a_server_that_never_answers(
    line: list[str], tokenizer: Tokenizer, tmp_path: Path, cwm_cli: Any
) -> None:
    """Each episode fails with its reason; the same command plays them when there is a server."""
    dead: dict[int, Trouble] = dict.fromkeys(range(100), "stall")
    limits = ["engine.timeout_s=0.5", "engine.retries=0", "retries=0"]
    with running(ModelServer(tokenizer, reply, dead)) as server:
        failed = cwm_cli(*line, f"engine.base_url={server.url}", *limits, "limit=2")
    assert failed.returncode == 2
    assert "2 episodes could not be played" in failed.stderr
    assert "no answer within 0.5 s" in failed.stderr
    assert "Traceback" not in failed.stderr
    with running(ModelServer(tokenizer, reply)) as server:
        settings = [f"engine.base_url={server.url}", "limit=2"]
        done = cwm_cli(*line, *settings)
    assert done.returncode == 0, done.stderr
    assert len(played(tmp_path / "out")) == 2
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["agents"]["m"]["resolved"] == 2
    assert summary["failures"] == []
