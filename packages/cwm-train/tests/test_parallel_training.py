"""`cwm train` in several processes: forms change between starts, a lost process is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cwm_core.errors import ConfigError
from cwm_core.rundir import read_metrics, read_status
from cwm_train.commands.train import run_training
from cwm_train.loop.processes import check_shares
from cwm_train.parallel.config import ParallelConfig

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def metrics(out: Path) -> dict[str, list[float]]:
    entries = read_metrics(out / "metrics.jsonl")
    names = ("loss", "grad_norm", "validation/loss", "validation/frame_accuracy")
    return {name: [e[name] for e in entries if name in e] for name in names}


def launch(command: list[str], *overrides: str) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, *command[1:], *overrides],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_run_goes_on_in_two_processes_that_share_sequences(settings, command, tmp_path):
    """One process, then two along the sequence: losses and evaluations are those of one."""
    for steps in (3, 6):
        run_training(settings(out=tmp_path / "one", max_steps=steps, eval_every=2))
    run_training(settings(out=tmp_path / "two", max_steps=3, eval_every=2))
    config = settings(out=tmp_path / "two", max_steps=6)
    launch(command(config), "parallel.context=2", "eval_every=2", "recompute=selective")
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert all(len(one[name]) == len(two[name]) > 3 for name in one)
    norms = one.pop("grad_norm"), two.pop("grad_norm")
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
    for name in one:
        assert two[name] == pytest.approx(one[name], abs=1e-5), name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command: list[str], rank: int, port: int) -> subprocess.Popen[str]:
    place = {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    return subprocess.Popen(
        command, env={**ENVIRONMENT, **place}, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_lost_process_is_named_and_nothing_hangs(settings, command, tmp_path):
    config = settings(max_steps=100_000)
    port = free_port()
    workers = [start(command(config), rank, port) for rank in range(2)]
    try:
        deadline = time.monotonic() + 200
        while not _has_steps(config.out, 12) and time.monotonic() < deadline:
            assert all(worker.poll() is None for worker in workers), workers[0].stderr.read()
            time.sleep(0.1)
        workers[1].send_signal(signal.SIGKILL)
        _, said = workers[0].communicate(timeout=120)
    finally:
        for worker in workers:
            worker.kill()
    assert workers[0].returncode == 2, said
    assert "another process of this run is gone" in said
    assert "continues from the last checkpoint" in said
    assert "Traceback" not in said
    assert read_status(config.out)["state"] == "failed"
    assert (config.out / "checkpoints" / "step-00000010").is_dir()


def _has_steps(out: Path, steps: int) -> bool:
    path = out / "metrics.jsonl"
    return path.exists() and len(path.read_text().splitlines()) >= steps


def test_a_batch_must_reach_for_all(settings):
    check_shares(settings(), 4)
    with pytest.raises(ConfigError, match="holds 4 rows of 256 tokens for 5 processes"):
        check_shares(settings(), 5)
    check_shares(settings(parallel=ParallelConfig(context=4)), 16)
    with pytest.raises(ConfigError, match="no multiple of 3"):
        check_shares(settings(parallel=ParallelConfig(context=3)), 3)


def test_one_process_alone_refuses_what_needs_several(settings):
    with pytest.raises(ConfigError, match="makes 2 processes, but 1 was started"):
        run_training(settings(parallel=ParallelConfig(tensor=2)))


def test_float8_needs_its_hardware(settings):
    with pytest.raises(ConfigError, match="float8 needs an NVIDIA GPU"):
        run_training(settings(float8="rowwise"))
