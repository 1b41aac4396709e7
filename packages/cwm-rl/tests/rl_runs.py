"""Whole runs for tests: a tiny model on the disk, an installed environment, `cwm rl train` as users
start it, and what must be true of every run directory at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from cwm_core.data.shards import read_shards
from cwm_core.text.tokenizer import train_bpe
from cwm_rl.board.beacon import read_sign
from cwm_rl.board.files import Progress, RunFiles
from cwm_rl.rollout.group import Status
from cwm_rl.rollout.ledger import Ledger
from cwm_rl.rollout.store import GroupStore

PARITY = """
    import asyncio

    from cwm_core.components import ComponentConfig
    from cwm_core.env.environment import Observation, Task, Transition
    from cwm_core.hookspecs import hookimpl
    from cwm_core.plugins import Component, registry


    class Parity(ComponentConfig):
        hard: int = 10**9
        \"\"\"From so many episodes on every action is right.\"\"\"
        sandboxed: bool = False
        \"\"\"Every action passes through a sandbox.\"\"\"

        def build(self, tokenizer=None):
            return ParityEnvironment(self.hard, self.sandboxed)


    class ParityEnvironment:
        def __init__(self, hard, sandboxed):
            self.left, self.sandboxed = hard, sandboxed

        def tasks(self, split):
            for number in range(50):
                yield Task(f"{split}-{number}", {"number": number}, split=split)

        async def start(self, task):
            return Transition(None, Observation(f"{task.data['number']}?"), False)

        async def step(self, state, action):
            self.left -= 1
            right = self.left < 0 or action.token_ids[0] % 2 == 0
            if self.sandboxed:
                await self.run(str(right).encode())
            return Transition(state, Observation(), True, float(right))

        async def run(self, said):
            sandbox = await asyncio.to_thread(registry().make("sandboxes", "local").build)
            try:
                done = await sandbox.exec("sleep 0.2; cat", 60, stdin=said)
            finally:
                await sandbox.close()
            if done.stdout != said:
                raise RuntimeError(f"the sandbox ended with {done.exit_code}")


    @hookimpl
    def cwm_environments():
        return [Component("parity", "parity_environment:Parity", "Say an even token.")]
"""


def install_parity(site: Path) -> None:
    """Put a distribution with the environment `parity` into a directory."""
    info = site / "parity_environment-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "parity_environment.py").write_text(textwrap.dedent(PARITY))
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: parity-environment\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text("[cwm]\nparity = parity_environment\n")


def write_tiny_model(directory: Path) -> None:
    """Write a model of some thousand parameters whose tokens are bytes."""
    import torch

    from cwm_core.text import special_tokens as st
    from cwm_train.checkpoint.hf import save_pretrained
    from cwm_train.model.config import CwmTiny

    tokenizer = train_bpe([""], 256 + len(st.NAMED_TOKENS))
    torch.manual_seed(0)
    model = CwmTiny(
        name="cwm_tiny",
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=128,
        vocab_size=tokenizer.vocab_size,
        tie_word_embeddings=True,
        init="normal",
        bos_token_id=tokenizer.special_id(st.BEGIN_OF_TEXT),
        eos_token_id=tuple(tokenizer.special_id(name) for name in st.STOP_TOKENS),
    ).build()
    assert sum(weight.numel() for weight in model.parameters()) < 10_000
    save_pretrained(model, tokenizer, directory)


class Run:
    """A run of `cwm rl train` in a process group of its own."""

    def __init__(self, out: Path, words: list[str], site: Path, output: Path) -> None:
        self.files = RunFiles(out)
        self._command = [sys.executable, "-m", "cwm_core", "rl", "train", f"out={out}", *words]
        self._environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        self._output = output
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start or continue it."""
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                self._command, stdout=output, stderr=output, env=self._environment
            )

    def said(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text()

    def wait_until(self, true: Callable[[Progress], bool], seconds: float = 900) -> None:
        """Wait until the trainer's progress is so."""
        until = time.monotonic() + seconds
        while not true(Progress.read(self.files.progress)):
            assert self.process is not None
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, self.said()
            time.sleep(0.02)

    def finish(self, seconds: float = 900) -> int:
        """Wait for its end; return the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self, name: str) -> bool:
        """Kill one of its processes with SIGKILL; false if it does not run now."""
        sign = read_sign(self.files.processes, name)
        try:
            # its number may be another process's by now
            if sign is None or str(self.files.root) not in psutil.Process(sign.pid).cmdline():
                return False
            os.kill(sign.pid, signal.SIGKILL)
        except (psutil.Error, ProcessLookupError):
            return False
        return True

    def kill_all(self) -> None:
        """Kill all of its processes with SIGKILL, the supervisor first."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        for path in self.files.processes.glob("*.timeline.jsonl"):
            self.kill(path.name.removesuffix(".timeline.jsonl"))


def check_accounting(files: RunFiles, *, steps: int, groups: int, size: int) -> Ledger:
    """Compare ledger, shards and files of a run that is over; return the ledger.

    `groups` of `size` episodes make a step, or fewer at the end of a run without signal. Raises
    AssertionError when a prompt or an episode was lost or counted twice.
    """
    with Ledger(files.ledger) as ledger:
        pass
    lines = [json.loads(line) for line in files.ledger.read_text().splitlines()]
    admitted = [line["id"] for line in lines if line["kind"] == "admit"]
    assert admitted == list(range(ledger.next_id))
    assert ledger.problems() == []
    used = Counter(line["id"] for line in lines if line["kind"] == "used")
    assert set(used.values()) <= {1}
    trained = Counter(step for step in ledger.trained_at.values() if step > 0)
    assert sorted(trained) == list(range(1, steps + 1))
    assert set(trained.values()) <= set(range(1, groups + 1))
    assert ledger.final[Status.TRAINED] == trained.total()
    stored = Counter(row["trajectory_id"] for row in read_shards(files.trajectories))
    assert set(stored.values()) == {1}
    by_group = Counter(int(key.partition("-")[0]) for key in stored)
    assert set(by_group.values()) == {size}
    assert len(by_group) == ledger.final.total()
    # a group that was just being stored at the end is open still: a successor would adopt it
    left = set(GroupStore(files.groups).ids())
    assert ledger.ready.keys() <= left <= ledger.ready.keys() | ledger.open.keys()
    return ledger
