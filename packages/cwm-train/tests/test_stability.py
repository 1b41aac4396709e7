"""Steps that are skipped, and what they leave untouched."""

from __future__ import annotations

import math

import pytest
import torch

from cwm_core.errors import RunError
from cwm_core.rundir import read_metrics
from cwm_train.commands.train import run_training
from cwm_train.loop.stability import WINDOW, Stability
from cwm_train.loop.trainer import Trainer


def test_a_spike_is_far_above_what_was_usual():
    recent: dict[str, list[float]] = {}
    stability = Stability(6.0, recent)
    for step in range(WINDOW // 2):
        assert stability.problem(loss=2.0 + 0.1 * (-1) ** step) is None
    assert stability.problem(loss=2.59) is None
    assert "loss 2.9 is a spike" in str(stability.problem(loss=2.9))
    assert stability.problem(loss=0.1) is None
    assert len(recent["loss"]) == WINDOW // 2 + 3


def test_a_lasting_change_becomes_usual():
    stability = Stability(3.0, {})
    for step in range(WINDOW):
        stability.problem(gradient_norm=1.0 + 0.1 * (-1) ** step)
    skipped = [stability.problem(gradient_norm=2.0) is not None for _ in range(50)]
    assert skipped[0] and not skipped[-1]
    assert skipped == sorted(skipped, reverse=True)


def test_nothing_is_a_spike_at_the_start_or_unless_asked_for():
    assert Stability(1.0, {}).problem(loss=1e9) is None
    calm = Stability(None, {})
    assert all(calm.problem(loss=10.0**n) is None for n in range(200))
    assert calm.problem(loss=math.inf) == "loss is inf"
    assert calm.problem(loss=1.0, gradient_norm=math.nan) == "gradient norm is nan"


class Poisoned(Trainer):
    """The loss and gradient of some steps are not numbers."""

    steps: tuple[int, ...] = ()

    def _backward(self, *args):
        loss = super()._backward(*args)
        if self.state.step in self.steps:
            for parameter in self.model.parameters():
                parameter.grad.fill_(math.nan)
            return math.nan
        return loss


def test_a_bad_batch_is_skipped_and_changes_no_weight(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("cwm_train.loop.run.Trainer", Poisoned)
    Poisoned.steps = (3, 4)
    config = settings(max_steps=8, max_bad_steps=2)
    run_training(config)
    entries = [e for e in read_metrics(config.out / "metrics.jsonl") if "loss" in e]
    assert [math.isnan(e["loss"]) for e in entries] == [step in (3, 4) for step in range(8)]
    assert entries[-1]["skipped_steps"] == 2
    assert "step 3 skipped: loss is nan (batch from row" in (config.out / "log.txt").read_text()
    Poisoned.steps = tuple(range(2, 8))
    with pytest.raises(RunError, match="3 steps in a row were skipped"):
        run_training(settings(out=tmp_path / "bad", max_steps=8, max_bad_steps=2))


def test_weights_stay_as_they_were_when_a_step_is_skipped(settings, monkeypatch):
    seen: list[torch.Tensor] = []

    class Watched(Poisoned):
        def _step(self, *args):
            seen.append(self.model.lm_head.weight.detach().clone())
            return super()._step(*args)

    monkeypatch.setattr("cwm_train.loop.run.Trainer", Watched)
    Poisoned.steps = (1,)
    run_training(settings(max_steps=3))
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])


def test_a_plugin_adds_its_own_measurement(settings, monkeypatch):
    from cwm_core.plugins import registry

    class Plugins:
        def emit(self, hook, **arguments):
            if hook == "validation":
                arguments["metrics"]["weights"] = float(
                    sum(1 for _ in arguments["model"].parameters())
                )

        def __getattr__(self, name):
            return getattr(registry(), name)

    monkeypatch.setattr("cwm_train.loop.trainer.registry", Plugins)
    config = settings(max_steps=2)
    run_training(config)
    values = [e for e in read_metrics(config.out / "metrics.jsonl") if "validation/weights" in e]
    assert len(values) == 1 and values[0]["validation/weights"] > 10
