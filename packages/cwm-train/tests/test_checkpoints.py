"""Checkpoints survive kills, damage and full disks; stages hand weights and optimizers on."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from cwm_core.components import ComponentConfig
from cwm_core.errors import DataError, RunError
from cwm_core.rundir import read_metrics, read_status
from cwm_train.checkpoint.hf import load_pretrained, read_weights
from cwm_train.checkpoint.manifest import damage
from cwm_train.checkpoint.store import CheckpointStore, newest_checkpoint
from cwm_train.checkpoint.tensors import TENSORS, read_tensors
from cwm_train.commands.train import run_training
from cwm_train.loop.config import TrainConfig
from cwm_train.loop.trainer import Trainer
from cwm_train.model.config import CwmTiny
from cwm_train.optim.config import AdamW, Soap


def losses(out: Path) -> list[float]:
    return [e["loss"] for e in read_metrics(out / "metrics.jsonl") if "loss" in e]


def test_killed_at_random_moments_it_repeats_the_uninterrupted_run(settings, tmp_path):
    budget = {"max_steps": 60, "checkpoint_every_steps": 2, "log_every": 3, "ema": 0.9}
    run_training(settings(out=tmp_path / "whole", **budget))
    torn = settings(out=tmp_path / "torn", **budget)
    moments = random.Random(0)
    killed = 0
    for after in (4, 11, 19, 28):
        process = start(torn)
        wait_for_step(process, torn.out, after)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.join()
        killed += process.exitcode == -9
    assert killed >= 3
    run_training(torn)
    assert read_status(torn.out)["starts"] == 5
    assert losses(torn.out) == losses(tmp_path / "whole")
    mine, other = (
        load_pretrained(tmp_path / n / "model")[0].state_dict() for n in ("torn", "whole")
    )
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def start(config: TrainConfig) -> multiprocessing.process.BaseProcess:
    """Train in a process that is forked from a server that has imported torch already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cwm_train.loop.run"])
    process = context.Process(target=run_training, args=(config,))
    process.start()
    return process


def wait_for_step(process: multiprocessing.process.BaseProcess, out: Path, step: int) -> None:
    while process.is_alive():
        logged = read_metrics(out / "metrics.jsonl")
        if logged and logged[-1]["step"] >= step:
            return
        time.sleep(0.01)


FULL_DISK = """
import shutil, sys
from pathlib import Path
from cwm_core.errors import RunError
from cwm_core.config import compose
from cwm_train.commands.train import run_training
from cwm_train.loop.config import TrainConfig

def train(steps):
    overrides = [*sys.argv[1:], f"max_steps={steps}", "out=/full/run"]
    run_training(compose("train", TrainConfig, overrides, None))

train(2)
size = sum(p.stat().st_size for p in Path("/full/run/checkpoints/step-00000002").rglob("*"))
Path("/full/filler").write_bytes(bytes(shutil.disk_usage("/full").free - size // 2))
try:
    train(4)
except RunError as error:
    print("SAID", error)
print("LEFT", sorted(p.name for p in Path("/full/run/checkpoints").iterdir()))
Path("/full/filler").unlink()
train(4)
print("THEN", sorted(p.name for p in Path("/full/run/checkpoints").iterdir()))
"""


NO_ROOM_FOR_WEIGHTS = """
from pathlib import Path
import torch
from cwm_core.errors import RunError
from cwm_train.checkpoint.shards import write_shards

try:
    write_shards(Path("/full"), {"w": 4_000_000}, lambda names: {"w": torch.ones(1_000_000)})
except RunError as error:
    print("SAID", error, list(Path("/full").iterdir()))
"""


def on_small_disk(size: int, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    small = ["bwrap", "--dev-bind", "/", "/", "--size", str(size), "--tmpfs", "/full"]
    return subprocess.run(
        [*small, sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


needs_small_disk = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="needs bubblewrap for a small disk"
)


@needs_small_disk
def test_weights_that_do_not_fit_on_the_disk_are_explained():
    done = on_small_disk(1_000_000, NO_ROOM_FOR_WEIGHTS)
    assert done.returncode == 0, done.stderr
    assert "SAID cannot write '/full/model.safetensors': the disk is full" in done.stdout
    assert done.stdout.endswith("[]\n")


@needs_small_disk
def test_a_full_disk_is_explained_and_harms_no_checkpoint(settings, command, tmp_path):
    overrides = command(settings(cache=tmp_path / "tokens"))[4:]
    done = on_small_disk(20_000_000, FULL_DISK, *overrides)
    assert done.returncode == 0, done.stderr
    assert "the disk is full" in done.stdout
    assert "LEFT ['step-00000002']" in done.stdout
    assert "THEN ['step-00000002', 'step-00000004']" in done.stdout


def saved(tmp_path: Path, steps: int = 1, keep: int = 2) -> CheckpointStore:
    store = CheckpointStore(tmp_path, keep)
    for step in range(1, steps + 1):
        tensors = {"model": {"weight": torch.full((3,), float(step))}}
        store.save(step, tensors, {"step": step}, lambda _: None, lambda _: None)
    store.wait()
    return store


def test_what_changes_after_the_call_is_not_in_the_checkpoint(tmp_path):
    store = CheckpointStore(tmp_path, 2)
    weight = torch.ones(1000)
    told: list[Path] = []
    store.save(1, {"model": {"weight": weight}}, {}, lambda _: None, told.append)
    weight.zero_()
    store.wait()
    assert told == [tmp_path / "step-00000001"]
    tensors = {"model": {"weight": torch.zeros(1000)}}
    read_tensors(tensors, told[0] / TENSORS)
    assert torch.equal(tensors["model"]["weight"], torch.ones(1000))


@pytest.mark.parametrize("file", [".metadata", "__0_0.distcp"])
def test_every_file_of_the_tensors_has_a_checksum(tmp_path, file):
    store = saved(tmp_path, 2)
    victim = tmp_path / "step-00000002" / TENSORS / file
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    assert file in str(damage(tmp_path / "step-00000002"))
    assert store.latest() == tmp_path / "step-00000001"
    with pytest.raises(RunError, match="is damaged"):
        newest_checkpoint(tmp_path / "step-00000002")


def test_a_checkpoint_that_failed_is_reported_by_the_next_call(tmp_path, monkeypatch):
    store = saved(tmp_path)

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cwm_train.checkpoint.store.write_tensors", broken)
    store.save(2, {}, {}, lambda _: None, lambda _: None)
    with pytest.raises(RunError, match="the disk is full"):
        store.wait()
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert damage(store.all()[0]) is None


def test_what_does_not_fit_is_named(tmp_path):
    saved(tmp_path)
    with pytest.raises(DataError, match=r"Size mismatch.*model\.weight"):
        read_tensors({"model": {"weight": torch.zeros(4)}}, tmp_path / "step-00000001" / TENSORS)
    with pytest.raises(DataError, match=r"model\.other"):
        read_tensors({"model": {"other": torch.zeros(3)}}, tmp_path / "step-00000001" / TENSORS)


def test_a_checkpoint_is_a_model_directory(settings):
    final = run_training(settings(max_steps=2))
    checkpoint = newest_checkpoint(settings().out)
    assert checkpoint.name == "step-00000002"
    mine, other = read_weights(checkpoint), read_weights(final)
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert load_pretrained(checkpoint)[0].config == load_pretrained(final)[0].config


def test_a_stage_goes_on_as_if_it_were_one_run(settings, tmp_path):
    """Two stages that share optimizer state and schedule take the steps of one run."""
    steady = {"schedule_span": (0.0, 0.5), "max_steps": 6}
    run_training(settings(out=tmp_path / "a", **steady))
    second = {"schedule_span": (0.5, 1.0), "max_steps": 6, "init_from": tmp_path / "a"}
    run_training(settings(out=tmp_path / "b", carry_optimizer=True, **second))
    run_training(settings(out=tmp_path / "fresh", **second))
    run_training(settings(out=tmp_path / "same", carry_optimizer=True, **second, seed=0))
    rates = [
        e["lr"] for n in "ab" for e in read_metrics(tmp_path / n / "metrics.jsonl") if "lr" in e
    ]
    peak = max(rates)
    assert rates[6] == pytest.approx(peak * min(1.0, (1 - 0.5) / 0.4))
    assert rates == sorted(rates[:1]) + rates[1:] and rates[-1] < rates[6]
    carried, fresh = losses(tmp_path / "b"), losses(tmp_path / "fresh")
    assert carried[0] == fresh[0] and carried[2] != fresh[2]
    assert losses(tmp_path / "same") == carried
    log = (tmp_path / "b" / "log.txt").read_text()
    assert "the schedule, 0.4167 there, is 0.5000 here" in log


def test_what_cannot_be_carried_over_is_refused(settings, tmp_path):
    first = run_training(settings(out=tmp_path / "a", max_steps=1))
    for changes, words in (
        ({"init_from": first}, "has no optimizer state"),
        ({"init_from": tmp_path / "a", "optimizer": AdamW(name="adamw")}, "another model or opt"),
        ({"init_from": tmp_path / "a", "model": CwmTiny(name="cwm_tiny")}, "has shape"),
    ):
        out = tmp_path / words[:8]
        with pytest.raises(DataError, match=words):
            run_training(settings(out=out, carry_optimizer=True, max_steps=1, **changes))
    with pytest.raises(ValidationError, match="needs init_from"):
        settings(carry_optimizer=True)
    with pytest.raises(ValidationError, match="no part of 0 to 1"):
        settings(schedule_span=(0.5, 0.5))


def test_counters_of_a_checkpoint_are_plain(settings):
    run_training(settings(max_steps=2))
    facts = json.loads((newest_checkpoint(settings().out) / "facts.json").read_text())["train"]
    assert facts["step"] == 2 and facts["tokens"] > 0 and facts["skipped_steps"] == 0


class Sgd(ComponentConfig):
    """An optimizer as a third party would bring it."""

    momentum: float

    def build(self, named_parameters):
        """Build torch's."""
        return torch.optim.SGD([p for _, p in named_parameters], lr=0.05, momentum=self.momentum)


RESUMED = [
    Sgd(momentum=0.9),
    Sgd(momentum=0.0),
    AdamW(name="adamw"),
    Soap(name="soap", gather_every=2, turn_every=2),
]


@pytest.mark.parametrize("optimizer", RESUMED)
def test_any_optimizer_is_resumed_exactly(settings, tmp_path, monkeypatch, optimizer):
    budget = {"optimizer": optimizer, "max_steps": 8, "checkpoint_every_steps": 3}
    run_training(settings(out=tmp_path / "whole", **budget))

    class Fragile(Trainer):
        def _step(self, *args):
            if self.state.step == 5:
                raise RuntimeError("pulled the plug")
            return super()._step(*args)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="pulled"):
        patch.setattr("cwm_train.loop.run.Trainer", Fragile)
        run_training(settings(out=tmp_path / "torn", **budget))
    run_training(settings(out=tmp_path / "torn", **budget))
    assert losses(tmp_path / "torn") == losses(tmp_path / "whole")
