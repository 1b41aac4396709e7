"""A third party's tracer, mixer, optimizer, reward and command, doing real work through `cwm`.

Its distribution is separate and knows nothing of the workspace; beside it sits a broken one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from cwm_core.data.records import TRAJECTORY_SCHEMA, trajectory_to_row
from cwm_core.data.shards import ShardWriter, read_shards
from cwm_core.env.trajectory import Trajectory, Turn

PLUGIN = """
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component

@hookimpl
def cwm_tracers():
    return [Component("shouting", "acme_parts:Shouting", "The default tracer; marks its records.")]

@hookimpl
def cwm_mixers():
    return [Component("halving", "acme_parts:Halving", "Each source half of what is left.")]

@hookimpl
def cwm_optimizers():
    return [Component("signs", "acme_parts:Signs", "Steps by the sign of the gradient.")]

@hookimpl
def cwm_rewards():
    return [Component("brevity", "acme_parts:Brevity", "One over the words of the answer.")]

@hookimpl
def cwm_commands():
    return [Command("acme", "acme_parts:acme", "Say what acme is.")]
"""
PARTS = '''
from cwm_core.plugins import ComponentConfig


class Shouting(ComponentConfig):
    """The default tracer, wrapped."""

    mark: str = "acme"
    """What its records carry as their origin."""

    def build(self, limits=None):
        """Build it."""
        from dataclasses import replace

        from cwm_core.plugins import registry

        inner = registry().make("tracers", "settrace").build(limits)
        mark = self.mark

        class Tracer:
            def __enter__(self):
                inner.__enter__()
                return self

            def __exit__(self, *error):
                return inner.__exit__(*error)

            def record(self, program, input):
                return replace(inner.record(program, input), origin=mark)

            def record_many(self, jobs):
                return (replace(record, origin=mark) for record in inner.record_many(jobs))

        return Tracer()


class Halving(ComponentConfig):
    """Each source gets half of what the ones before it left."""

    def build(self, lengths, seed):
        """Build it."""
        names = list(lengths)
        shares = {name: 0.5 ** (i + 1) for i, name in enumerate(names)}
        shares[names[-1]] += 1 - sum(shares.values())

        class Mixer:
            def delivered(self, tokens):
                return {name: share * tokens for name, share in shares.items()}

        return Mixer()


class Signs(ComponentConfig):
    """signSGD."""

    lr: float = 1e-3
    """Step size."""

    def build(self, named_parameters):
        """Build it."""
        import torch

        class SignSGD(torch.optim.Optimizer):
            @torch.no_grad()
            def step(self, closure=None):
                for group in self.param_groups:
                    for parameter in group["params"]:
                        if parameter.grad is not None:
                            parameter.sub_(parameter.grad.sign(), alpha=group["lr"])

        return SignSGD([p for _, p in named_parameters], {"lr": self.lr})


class Brevity(ComponentConfig):
    """Shorter answers are better."""

    def build(self):
        """Build it."""

        class Reward:
            async def score(self, task, trajectory):
                words = sum(len(t.text.split()) for t in trajectory.turns if t.role == "action")
                return 1 / max(words, 1)

        return Reward()


def acme(name: str = "world"):
    """Say what acme is."""
    print(f"acme greets {name}")
'''

Cli = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def cwm(make_plugin: Callable[..., Path], cwm_cli: Cli) -> Cli:
    """`cwm` with the third party's distribution installed, and a broken one beside it."""
    make_plugin(
        "acme-cwm", {"acme_plugin": PLUGIN, "acme_parts": PARTS}, "acme_plugin", name="acme"
    )
    make_plugin("broken-cwm", {"broken_plugin": "import nowhere"}, "broken_plugin", name="broken")

    def run(*arguments: str) -> CompletedProcess[str]:
        done = cwm_cli(*arguments)
        assert done.returncode == 0, f"cwm {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def trace(cwm: Cli, out: str, seed: int) -> None:
    cwm(
        "trace", "programs=generated", "programs.count=40", "programs.difficulty=1",
        f"programs.seed={seed}", "tracer=shouting", "tracer.mark=heard", "workers=1", f"out={out}",
    )  # fmt: skip


def test_tracer_mixer_and_optimizer_train_a_model(cwm: Cli, tmp_path: Path) -> None:
    for seed, out in ((1, "one"), (2, "two")):
        trace(cwm, out, seed)
    rows = list(read_shards(tmp_path / "one" / "traces"))
    assert rows and {row["origin"] for row in rows} == {"heard"}
    cwm("tokenizer", "train", "data=one/traces", "vocab_size=512", "out=tokenizer")
    cwm(
        "train", "tokenizer=tokenizer", "model=cwm_tiny", "model.hidden_size=32",
        "model.intermediate_size=64", "sources.a.name=traces", "sources.a.path=one/traces",
        "sources.b.name=traces", "sources.b.path=two/traces", "mixer=halving", "optimizer=signs",
        "optimizer.lr=1e-3", "max_steps=4", "log_every=1", "out=run",
    )  # fmt: skip
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    losses = [row["loss"] for row in metrics if "loss" in row]
    assert len(losses) >= 4 and losses[-1] < losses[0]
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "name: signs" in config and "name: halving" in config


def test_reward_scores_trajectories(cwm: Cli, tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "episodes", TRAJECTORY_SCHEMA) as writer:
        for index, answer in enumerate(("four", "it is four", "so four it is, I think")):
            turns = (Turn("prompt", "2 + 2?"), Turn("action", answer))
            task = {"data": {"answer": "four"}, "metadata": {}, "split": "test"}
            episode = Trajectory(f"sum-{index}", turns, metadata={"task": task})
            writer.write(trajectory_to_row(episode, str(index)))
        writer.finish()
    cwm("rl", "score", "data=episodes", "reward=brevity", "out=scored")
    scores = [
        json.loads(row["rewards"])["brevity"]
        for row in read_shards(tmp_path / "scored" / "trajectories")
    ]
    assert sorted(scores, reverse=True) == pytest.approx([1, 1 / 3, 1 / 6])


def test_command_runs_and_the_broken_plugin_is_reported(cwm: Cli) -> None:
    assert "acme greets you" in cwm("acme", "--name", "you").stdout
    assert "acme" in cwm("--help").stdout
    plugins = json.loads(cwm("plugins", "--json").stdout)
    text = json.dumps(plugins)
    assert "broken-cwm" in text and "No module named 'nowhere'" in text
    assert "acme-cwm" in text and "brevity" in text
