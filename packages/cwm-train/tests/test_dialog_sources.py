"""Conversations and episodes as documents: who carries loss, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from cwm_core.data.records import TRAJECTORY_SCHEMA, trajectory_to_row
from cwm_core.data.shards import ShardWriter
from cwm_core.dialog.template import REASONING_SYSTEM_PROMPT
from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.errors import DataError
from cwm_train.data.config import Chat, LossShares, Trajectories

TOOLS = [
    {
        "type": "function",
        "function": {"name": "bash", "parameters": {"properties": {"cmd": {"type": "string"}}}},
    }
]
CALL = [{"id": "1", "type": "function", "function": {"name": "bash", "arguments": '{"cmd": "ls"}'}}]
ROW = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is here?"},
        {"role": "assistant", "content": "", "reasoning_content": "Look.", "tool_calls": CALL},
        {"role": "tool", "tool_call_id": "1", "content": "a.py"},
        {"role": "assistant", "content": "One file.", "reasoning_content": "So one."},
    ],
    "tools": TOOLS,
}


def chat(path: Path, rows: list[object], tokenizer, **settings):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Chat(path=path, **settings).build(tokenizer)


def with_loss(document, tokenizer) -> str:
    """What a model is trained to say, stretches parted by a bar."""
    edges = np.flatnonzero(np.diff(document.loss_mask.astype(int), prepend=0, append=0))
    parts = [document.ids[start:end].tolist() for start, end in edges.reshape(-1, 2)]
    return "|".join(tokenizer.decode(part) for part in parts)


def said(document, tokenizer) -> str:
    return tokenizer.decode(document.ids.tolist())


def test_the_assistant_alone_carries_loss(tokenizer, tmp_path):
    source = chat(tmp_path / "a.jsonl", [ROW], tokenizer)
    assert with_loss(source[0], tokenizer) == (
        "Look.\n</think>\n<tool: bash>\nls\n</tool><|eot_id|>|"
        "So one.\n</think>\nOne file.<|eot_id|>"
    )
    whole = said(source[0], tokenizer)
    assert REASONING_SYSTEM_PROMPT in whole and "Be brief." in whole
    assert "<|start_header_id|>tool: bash<|end_header_id|>" in whole


def test_reasoning_tokens_mark_reasoning_as_the_release_does(tokenizer, tmp_path):
    source = chat(tmp_path / "a.jsonl", [ROW], tokenizer, style="token")
    assert "<|reasoning_thinking_start|>So one.<|reasoning_thinking_end|>One" in said(
        source[0], tokenizer
    )
    assert with_loss(source[0], tokenizer).endswith(
        "|So one.<|reasoning_thinking_end|>One file.<|eot_id|>"
    )


def test_reasoning_can_be_off_or_a_share(tokenizer, tmp_path):
    off = chat(tmp_path / "a.jsonl", [ROW], tokenizer, reasoning=0)
    assert "think" not in said(off[0], tokenizer)
    rows = [{"messages": [*ROW["messages"][:2], ROW["messages"][4]]} for _ in range(200)]
    half = chat(tmp_path / "b.jsonl", rows, tokenizer, reasoning=0.5)
    thinking = sum("So one." in said(half[i], tokenizer) for i in range(200))
    assert 70 < thinking < 130


def test_messages_can_be_silent(tokenizer, tmp_path):
    last = chat(tmp_path / "a.jsonl", [ROW], tokenizer, turns="last")
    assert with_loss(last[0], tokenizer).startswith("So one.")
    messages = [*ROW["messages"][:4], {**ROW["messages"][4], "weight": 0}]
    silent = chat(tmp_path / "b.jsonl", [{**ROW, "messages": messages}], tokenizer)
    assert with_loss(silent[0], tokenizer).endswith("</tool><|eot_id|>")
    observing = chat(tmp_path / "c.jsonl", [ROW], tokenizer, loss=LossShares(observation=1))
    assert "|a.py<|eot_id|>|" in with_loss(observing[0], tokenizer)


def test_earlier_reasoning_is_hidden_only_where_it_is_not_taught(tokenizer, tmp_path):
    settings = {"preserve_previous_think": False, "turns": "last"}
    source = chat(tmp_path / "a.jsonl", [ROW], tokenizer, **settings)
    assert "Look." not in said(source[0], tokenizer)
    with pytest.raises(ValidationError, match="turns=last"):
        Chat(path=tmp_path, preserve_previous_think=False)


def test_conversations_from_parquet(tokenizer, tmp_path):
    pq.write_table(pa.Table.from_pylist([ROW]), tmp_path / "a.parquet")
    lines = chat(tmp_path / "a.jsonl", [ROW], tokenizer)
    table = Chat(path=tmp_path / "a.parquet").build(tokenizer)
    assert said(table[0], tokenizer) == said(lines[0], tokenizer)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": "no dialog"}, "line 2|row 2"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "no chat message"),
        ({"messages": [{"role": "user", "content": "alone"}]}, "no message of an assistant"),
        ({"messages": ["hello"]}, "no chat message"),
    ],
)
def test_what_is_no_conversation_is_named(tokenizer, tmp_path, caplog, row, problem):
    with pytest.raises(DataError, match=problem) as caught:
        chat(tmp_path / "a.jsonl", [ROW, row], tokenizer)
    assert "a.jsonl, row 2" in caught.value.message
    assert len(chat(tmp_path / "a.jsonl", [ROW, row], tokenizer, bad_rows="skip")) == 1
    assert "1 rows left out" in caplog.text


# Episodes


def episode(tokenizer, reward: float = 1.0, **changes) -> Trajectory:
    """Two actions with an observation between, with token ids."""
    turns = [
        Turn("prompt", "Count to two.", tuple(tokenizer.encode("Count to two."))),
        Turn("action", "one", tuple(tokenizer.encode("one"))),
        Turn("observation", "go on", tuple(tokenizer.encode("go on"))),
        Turn("action", "two", tuple(tokenizer.encode("two"))),
    ]
    fields = {"task_id": "t", "turns": tuple(turns), "rewards": {"environment": reward}}
    return Trajectory(**{**fields, **changes})


def episodes(directory: Path, found: list[Trajectory], tokenizer, **settings):
    with ShardWriter(directory, TRAJECTORY_SCHEMA) as writer:
        for number, one in enumerate(found):
            writer.write(trajectory_to_row(one, f"e{number}"))
        writer.finish()
    return Trajectories(path=directory, **settings).build(tokenizer)


def test_stored_tokens_are_taken_as_they_are(tokenizer, tmp_path):
    one = episode(tokenizer)
    source = episodes(tmp_path, [one], tokenizer, loss=LossShares(observation=0))
    ids = [token for turn in one.turns for token in turn.token_ids]
    assert source[0].ids.tolist()[1:] == ids
    assert with_loss(source[0], tokenizer) == "one|two"


def test_an_actions_own_mask_counts(tokenizer, tmp_path):
    one = episode(tokenizer)
    action = one.turns[1]
    masked = replace(action, loss_mask=(False,) * len(action.token_ids))
    one = replace(one, turns=(one.turns[0], masked, *one.turns[2:]))
    source = episodes(tmp_path, [one], tokenizer, loss=LossShares(observation=0))
    assert with_loss(source[0], tokenizer) == "two"


def test_half_of_the_observations_carry_loss(tokenizer, tmp_path):
    source = episodes(tmp_path, [episode(tokenizer)] * 300, tokenizer)
    seen = ["go on" in with_loss(source[i], tokenizer) for i in range(300)]
    assert 110 < sum(seen) < 190
    assert all("one" in with_loss(source[i], tokenizer) for i in range(300))
    again = Trajectories(path=tmp_path).build(tokenizer)
    assert seen == ["go on" in with_loss(again[i], tokenizer) for i in range(300)]


def test_text_is_rendered_where_there_are_no_tokens(tokenizer, tmp_path):
    turns = tuple(replace(turn, token_ids=None) for turn in episode(tokenizer).turns)
    source = episodes(
        tmp_path, [episode(tokenizer, turns=turns)], tokenizer, loss=LossShares(observation=1)
    )
    assert with_loss(source[0], tokenizer) == "one<|eot_id|>|go on<|eot_id|>|two<|eot_id|>"


def test_episodes_without_success_can_be_left_out(tokenizer, tmp_path):
    found = [episode(tokenizer, reward) for reward in (-1.0, 1.0, 0.5)]
    assert len(episodes(tmp_path, found, tokenizer)) == 3
    assert len(Trajectories(path=tmp_path, min_reward=0.5).build(tokenizer)) == 2
    with pytest.raises(DataError, match="no episode that can be trained on"):
        Trajectories(path=tmp_path, min_reward=2).build(tokenizer)


def test_tokens_of_another_tokenizer_are_refused(tokenizer, tmp_path):
    one = episode(tokenizer)
    strange = replace(one.turns[1], token_ids=(10**6,))
    with pytest.raises(DataError, match=r"row 1: turn 1 has the token id 1000000"):
        episodes(tmp_path / "a", [replace(one, turns=(one.turns[0], strange))], tokenizer)
    wrong = replace(one.turns[1], token_ids=tuple(tokenizer.encode("three")))
    with pytest.raises(DataError, match="do not spell its text") as caught:
        episodes(tmp_path / "b", [replace(one, turns=(one.turns[0], wrong))], tokenizer)
    assert "tokens=chat" in caught.value.hint
