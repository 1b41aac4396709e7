"""The stages of training as recipes: what they say, and that they run one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cwm_core.cli.recipe import Recipe, load_recipe
from cwm_core.cli.stages import command_line
from cwm_core.config import compose
from cwm_core.data.records import TRAJECTORY_SCHEMA, trajectory_to_row
from cwm_core.data.shards import ShardWriter
from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.rundir import read_metrics
from cwm_train.checkpoint.hf import load_pretrained
from cwm_train.commands.train import run_training
from cwm_train.loop.config import TrainConfig
from cwm_train.model.config import CwmModelConfig


def configs(recipe: Recipe) -> list[TrainConfig]:
    """The configuration of every stage that trains."""
    found = [list(s.words[1:]) for s in recipe.stages if s.words[0] == "train"]
    return [compose("train", TrainConfig, words, None) for words in found]


@pytest.mark.parametrize("name", ["pretrain", "midtrain", "sft", "cwm_32b"])
def test_every_stage_is_a_valid_command(name):
    recipe = load_recipe(name, ["launcher=torchrun --nproc-per-node 8"])
    assert configs(recipe)
    for stage in recipe.stages:
        assert command_line(stage).startswith("torchrun --nproc-per-node 8 -m cwm_core train ")


def test_the_programme_is_the_papers():
    pretrain, midtrain, sft = configs(load_recipe("cwm_32b", []))
    assert [c.max_tokens for c in (pretrain, midtrain, sft)] == [8 * 10**12, 5 * 10**12, 10**11]
    assert [c.sequence_length for c in (pretrain, midtrain, sft)] == [8192, 131072, 32768]
    shapes = [c.model for c in (pretrain, midtrain, sft)]
    assert all(isinstance(shape, CwmModelConfig) for shape in shapes)
    assert [s.rope_parameters.rope_type for s in shapes] == ["default", "llama3", "llama3"]
    assert {s.parameter_count() for s in shapes} == {32_581_097_472}
    assert pretrain.schedule_span == (0.0, pytest.approx(8 / 13))
    assert midtrain.schedule_span == (pretrain.schedule_span[1], 1.0)
    assert (midtrain.init_from, midtrain.carry_optimizer) == (pretrain.out, True)
    assert (sft.init_from, sft.carry_optimizer) == (midtrain.out, False)
    shares = midtrain.mixer.weights
    assert shares["executions"] + shares["episodes"] == pytest.approx(0.3)
    assert (shares["code"], shares["general"]) == (0.4, 0.3)
    assert sum(shares.values()) == pytest.approx(1)
    rehearsal = {name: w for name, w in sft.mixer.weights.items() if name != "dialogs"}
    assert sum(rehearsal.values()) == pytest.approx(0.3)


def test_a_student_runs_the_same_programme(tmp_path, traces, tokenizer_dir):
    """The cluster's recipe with a small model and small numbers, all three stages."""
    write_data(tmp_path)
    recipe = load_recipe(
        "cwm_32b",
        [
            f"out={tmp_path / 'runs'}", f"tokenizer={tokenizer_dir}", f"traces={traces}",
            f"general={tmp_path / 'general.jsonl'}", f"code={tmp_path / 'code'}",
            f"dialogs={tmp_path / 'dialogs.jsonl'}", f"episodes={tmp_path / 'episodes'}",
            "model=cwm_tiny", "attention=chunked",
            "pretrain_context=128", "midtrain_context=512", "sft_context=256", "batch_tokens=512",
            "pretrain_tokens=4000", "midtrain_tokens=2500", "sft_tokens=1500", "lr=0.004",
            "sft_lr=0.0005", "warmup=0.01", "precision=fp32", "tensor=1", "midtrain_nodes=1",
            "sft_nodes=1", "recompute=none", "log_every=1", "eval_every=100",
        ],
    )  # fmt: skip
    models = [run_training(config) for config in configs(recipe)]
    curves = [
        [e for e in read_metrics(path.parent / "metrics.jsonl") if "loss" in e] for path in models
    ]
    first, second = ([entry["loss"] for entry in curve] for curve in curves[:2])
    assert first[-1] < 0.7 * first[0]
    assert second[0] < 0.7 * first[0]
    ropes = [load_pretrained(path)[0].config.rope_parameters.rope_type for path in models]
    assert ropes == ["default", "llama3", "llama3"]
    rates = [entry["lr"] for curve in curves[:2] for entry in curve]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    log = (models[1].parent / "log.txt").read_text()
    assert "weights and optimizer state from" in log


def write_data(folder: Path) -> None:
    """A little of everything: text, code, conversations, episodes."""
    with ShardWriter(folder / "episodes", TRAJECTORY_SCHEMA) as writer:
        for n in range(20):
            said = f"<think>\n{n} + 1 is {n + 1}.\n</think>\nIt is {n + 1}."
            turns = (Turn("prompt", f"What is {n} + 1?"), Turn("action", said))
            writer.write(trajectory_to_row(Trajectory(f"t{n}", turns), f"e{n}"))
        writer.finish()
    texts = [{"text": f"The sum of {n} and {n} is {2 * n}. " * 6} for n in range(40)]
    (folder / "general.jsonl").write_text("".join(json.dumps(t) + "\n" for t in texts))
    (folder / "code").mkdir()
    for n in range(20):
        (folder / "code" / f"m{n}.py").write_text(f"def f{n}(a, b):\n    return a + {n} * b\n" * 4)
    dialogs = [
        {
            "messages": [
                {"role": "user", "content": f"What is {n} + 1?"},
                {"role": "assistant", "content": f"It is {n + 1}."},
            ]
        }
        for n in range(40)
    ]
    (folder / "dialogs.jsonl").write_text("".join(json.dumps(d) + "\n" for d in dialogs))
