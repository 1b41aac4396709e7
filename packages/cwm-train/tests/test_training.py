"""Training runs through their public door: budgets, resume, checkpoints, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cwm_core.errors import ConfigError, CwmError, DataError, RunError
from cwm_core.rundir import open_run, read_metrics, read_status
from cwm_train.attention.config import Sdpa
from cwm_train.checkpoint.hf import load_pretrained
from cwm_train.commands.train import run_training
from cwm_train.data.config import JsonLines, Traces
from cwm_train.data.mixers import Weighted
from cwm_train.loop.config import TrainConfig
from cwm_train.loop.processes import check_shares
from cwm_train.model.config import CwmTiny
from cwm_train.optim.config import AdamW


def losses(out: Path) -> list[float]:
    return [e["loss"] for e in read_metrics(out / "metrics.jsonl") if "loss" in e]


def test_a_run_learns_and_leaves_a_complete_directory(settings):
    config = settings(max_steps=40, eval_every=20)
    model_dir = run_training(config)
    curve = losses(config.out)
    assert len(curve) == 40
    assert curve[-1] < 0.5 * curve[0]
    entries = read_metrics(config.out / "metrics.jsonl")
    measured = [e for e in entries if "validation/loss" in e]
    assert [e["step"] for e in measured] == [20, 40]
    assert (
        0
        <= measured[-1]["validation/frame_accuracy"]
        <= measured[-1]["validation/token_accuracy"]
        <= 1
    )
    assert {"lr", "tokens", "tokens_per_s", "grad_norm", "progress"} <= entries[0].keys()
    assert "<svg" in (config.out / "report.html").read_text()
    assert read_status(config.out)["state"] == "done"
    model, tokenizer = load_pretrained(model_dir)
    assert model.config.vocab_size == tokenizer.vocab_size
    stamp = (config.out / "metrics.jsonl").stat().st_mtime_ns
    run_training(config)
    assert (config.out / "metrics.jsonl").stat().st_mtime_ns == stamp


def test_continuing_from_a_checkpoint_repeats_the_uninterrupted_run(settings, tmp_path):
    whole = settings(out=tmp_path / "whole", max_steps=20, ema=0.9)
    run_training(whole)
    torn = settings(out=tmp_path / "torn", max_steps=20, ema=0.9, checkpoint_every_steps=7)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        _run_until(torn, 17)
    run_training(torn)
    assert losses(torn.out) == losses(whole.out)
    mine, other = (load_pretrained(c.out / "model")[0].state_dict() for c in (torn, whole))
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def _run_until(config: TrainConfig, step: int) -> None:
    """Train, but raise in the middle of a step."""
    from cwm_train.loop import run as module
    from cwm_train.loop.trainer import Trainer

    class Fragile(Trainer):
        def _step(self, *args: object) -> tuple[float, float]:
            if self.state.step == step:
                raise RuntimeError("pulled the plug")
            return super()._step(*args)

    original, module.Trainer = module.Trainer, Fragile
    try:
        run_training(config)
    finally:
        module.Trainer = original


def start(command: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def wait_for_steps(process: subprocess.Popen[bytes], out: Path, steps: int) -> None:
    while process.poll() is None and len(_safe_losses(out)) < steps:
        time.sleep(0.05)
    assert process.poll() is None, process.stderr.read()


def _safe_losses(out: Path) -> list[float]:
    return losses(out) if (out / "metrics.jsonl").exists() else []


@pytest.mark.slow
def test_kill_and_interrupt_lose_nothing(settings, command, tmp_path):
    """One run is killed, then interrupted, then finished; its losses are the whole run's."""
    whole = settings(out=tmp_path / "whole", max_steps=60, checkpoint_every_steps=10)
    run_training(whole)
    torn = settings(out=tmp_path / "torn", max_steps=60, checkpoint_every_steps=10)
    killed = start(command(torn))
    wait_for_steps(killed, torn.out, 14)
    killed.kill()
    killed.communicate()
    interrupted = start(command(torn))
    wait_for_steps(interrupted, torn.out, 25)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=120)
    assert interrupted.returncode == 130
    assert read_status(torn.out)["state"] == "stopped"
    last = read_metrics(torn.out / "metrics.jsonl")[-1]["step"]
    assert (torn.out / "checkpoints" / f"step-{last:08d}").is_dir()
    finished = start(command(torn))
    _, errors = finished.communicate(timeout=300)
    assert finished.returncode == 0, errors
    assert losses(torn.out) == losses(whole.out)


def test_damaged_checkpoint_falls_back_to_the_one_before(settings, caplog):
    config = settings(max_steps=8, checkpoint_every_steps=4)
    run_training(config)
    first = losses(config.out)
    newest = config.out / "checkpoints" / "step-00000008"
    next(newest.glob("tensors/*.distcp")).write_bytes(b"half")
    longer = settings(max_steps=9, checkpoint_every_steps=4)
    run_training(longer)
    assert "falling back" in caplog.text
    assert losses(config.out)[:4] == first[:4]
    assert len(losses(config.out)) == 9


def test_all_checkpoints_damaged_is_an_error(settings):
    run_training(settings(max_steps=2))
    for manifest in (settings().out / "checkpoints").glob("*/manifest.json"):
        manifest.write_text("{")
    with pytest.raises(RunError, match="damaged"):
        run_training(settings(max_steps=3))


def test_old_checkpoints_are_dropped(settings):
    config = settings(max_steps=9, checkpoint_every_steps=2, keep_checkpoints=2)
    run_training(config)
    names = sorted(p.name for p in (config.out / "checkpoints").iterdir())
    assert names == ["step-00000008", "step-00000009"]


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_changes_nothing(settings, tmp_path, parts):
    at_once = settings(out=tmp_path / "a", max_steps=5)
    in_parts = settings(out=tmp_path / "b", max_steps=5, accumulate=parts)
    run_training(at_once)
    run_training(in_parts)
    assert losses(in_parts.out) == pytest.approx(losses(at_once.out), rel=1e-4)


def test_attention_backends_train_alike(settings, tmp_path):
    run_training(settings(out=tmp_path / "a", max_steps=5))
    run_training(settings(out=tmp_path / "b", max_steps=5, attention=Sdpa(name="sdpa")))
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), rel=1e-4)


@pytest.mark.parametrize("budget", [{"max_tokens": 3000}, {"max_minutes": 0.02}])
def test_other_budgets_end_the_run(settings, budget):
    config = settings(max_steps=None, **budget)
    run_training(config)
    assert read_status(config.out)["state"] == "done"
    last = [e for e in read_metrics(config.out / "metrics.jsonl") if "loss" in e][-1]
    if "max_tokens" in budget:
        assert 3000 <= last["tokens"] < 3000 + 1024
    else:
        assert last["elapsed_s"] >= 1.2


def test_a_diverging_run_stops_with_a_reason(settings):
    config = settings(
        optimizer=AdamW(name="adamw", lr=1e30), grad_clip=1e30, max_bad_steps=2, max_steps=50
    )
    with pytest.raises(RunError, match=r"3 steps in a row were skipped.*loss is nan"):
        run_training(config)
    assert read_status(config.out)["state"] == "failed"
    assert "skipped: loss is nan (batch from row" in (config.out / "log.txt").read_text()


def test_weights_to_start_from(settings, tmp_path):
    first = run_training(settings(out=tmp_path / "a", max_steps=30))
    second = settings(out=tmp_path / "b", max_steps=2, init_from=first)
    run_training(second)
    assert losses(second.out)[0] < 0.5 * losses(tmp_path / "a")[0]
    other = settings(out=tmp_path / "c", init_from=first, model=CwmTiny(name="cwm_tiny"))
    with pytest.raises(DataError, match="shape"):
        run_training(other)


def test_documents_longer_than_the_context_are_counted(settings, traces, tokenizer):
    lengths = Traces(path=traces).build(tokenizer).lengths
    limit = int(np.median(lengths))
    config = settings(sequence_length=limit, batch_tokens=4 * limit, max_steps=2)
    run_training(config)
    count = int((lengths > limit).sum())
    text = f"{count} of 100 documents are longer than {limit} tokens and are left out"
    assert text in (config.out / "log.txt").read_text()
    with pytest.raises(DataError, match="fits into 20 tokens"):
        run_training(settings(out=config.out.with_name("x"), sequence_length=20, batch_tokens=40))


def test_clear_errors_for_wrong_input(settings, tmp_path, traces):
    with pytest.raises(ValidationError, match="budget"):
        settings(max_steps=None)
    with pytest.raises(ValidationError, match="accumulate"):
        settings(accumulate=9)
    cases = {
        "split": {"sources": {"t": Traces(path=traces, split="nosuch")}},
        "positive": {"mixer": Weighted(weights={"traces": 0.0})},
        "unknown source": {"mixer": Weighted(weights={"trace": 1.0})},
        "max_position": {"sequence_length": 8192, "batch_tokens": 8192},
        "tokenizer": {"tokenizer": tmp_path / "nowhere"},
        "does not exist": {"sources": {"t": Traces(path=tmp_path / "nowhere")}},
    }
    for number, (words, changes) in enumerate(cases.items()):
        with pytest.raises((ConfigError, DataError), match=words):
            run_training(settings(out=tmp_path / str(number), **changes))


def test_a_corrupt_shard_is_named(settings, tmp_path, traces):
    copy = tmp_path / "copy"
    copy.mkdir()
    for shard in traces.glob("*.parquet"):
        (copy / shard.name).write_bytes(shard.read_bytes())
    victim = sorted(copy.glob("*.parquet"))[0]
    victim.write_bytes(victim.read_bytes()[:-50])
    with pytest.raises(CwmError, match=victim.name):
        run_training(settings(sources={"t": Traces(path=copy)}))


def test_text_and_traces_mix(settings, tmp_path):
    lines = [json.dumps({"text": f"x = {i}\n" * 5}) for i in range(40)]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    both = {**settings().sources, "text": JsonLines(name="jsonl", path=tmp_path / "text.jsonl")}
    mixer = Weighted(name="weighted", weights={"traces": 0.7, "text": 0.3})
    config = settings(sources=both, mixer=mixer, max_steps=5)
    run_training(config)
    assert len(losses(config.out)) == 5
    shares = [e for e in read_metrics(config.out / "metrics.jsonl") if "loss" in e][-1]
    assert shares["share/traces"] + shares["share/text"] == pytest.approx(1)
    assert shares["share/traces"] == pytest.approx(0.7, abs=0.1)
    assert 0 <= shares["data_wait"] <= 1


def test_training_never_reads_another_split(settings, traces, tokenizer):
    source = Traces(path=traces, split="validation").build(tokenizer)
    assert len(source) == 20
    config = settings(max_steps=1)
    run_training(config)
    assert "traces: 100 documents" in (config.out / "log.txt").read_text()


def test_a_changed_configuration_is_refused(settings):
    run_training(settings(max_steps=1))
    with (
        pytest.raises(ConfigError, match="sequence_length"),
        open_run(settings().out, "train", settings(sequence_length=128)),
    ):
        pass


@pytest.mark.parametrize("threads", [1, 2])
def test_bf16_trains_where_asked_for(settings, threads):
    config = settings(max_steps=3, precision="bf16", batch_tokens=512, threads=threads)
    run_training(config)
    assert all(torch.isfinite(torch.tensor(losses(config.out))))
    assert "bf16" in (config.out / "log.txt").read_text()


def launched(command: list[str], *overrides: str) -> subprocess.CompletedProcess[str]:
    """Train in two processes that talk through gloo."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [sys.executable, *launcher, *command[1:], *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_one_process_two_and_one_again_compute_the_losses_of_one(settings, command, tmp_path):
    """Checkpoints are read by as many processes as there are; the first alone writes and speaks."""
    for steps in (3, 6, 8):
        run_training(settings(out=tmp_path / "one", max_steps=steps, ema=0.9))
    mixed = settings(out=tmp_path / "mixed", max_steps=3, ema=0.9)
    run_training(mixed)
    longer = settings(out=mixed.out, max_steps=6, ema=0.9)
    done = launched(command(longer))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("parameters on cpu") == 1
    assert len(list((mixed.out / "checkpoints" / "step-00000006" / "tensors").glob("__*"))) == 2
    run_training(settings(out=mixed.out, max_steps=8, ema=0.9))
    assert losses(mixed.out) == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    mine, other = (
        load_pretrained(tmp_path / n / "model")[0].state_dict() for n in ("mixed", "one")
    )
    assert all(torch.allclose(mine[name], other[name], atol=1e-5) for name in mine)
    refused = launched(command(longer), "optimizer.lr=0.5")
    assert refused.returncode != 0
    assert "was made with another configuration" in refused.stderr
    assert "could not open" in refused.stderr


def test_every_process_needs_a_row(settings):
    check_shares(settings(), 4)
    with pytest.raises(ConfigError, match="holds 4 rows of 256 tokens for 5 processes"):
        check_shares(settings(), 5)
