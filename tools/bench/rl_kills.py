"""Kill processes of a run at random moments with ``kill -9``; the accounting must stay exact.

python tools/bench/rl_kills.py --model runs/rl-tools/warm --out runs/rl-kills --kills 20
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from cwm_core.data.shards import read_shards
from cwm_rl.board.beacon import read_sign
from cwm_rl.board.files import Progress, RunFiles
from cwm_rl.rollout.ledger import Ledger
from cwm_rl.rollout.store import GroupStore

GROUP_SIZE = 4


def command(model: Path, out: Path, steps: int) -> list[str]:
    """Return the command of a small run."""
    return [
        sys.executable, "-m", "cwm_core", "rl", "train", f"init_from={model}", f"out={out}",
        "environments.lookup=lookup", "tasks.lookup.max_turns=2", "tasks.lookup.max_tokens=24",
        f"group_size={GROUP_SIZE}", "batch.groups=4", "max_staleness=2", "optimizer.lr=1e-4",
        "checkpoint_every_steps=3", f"max_steps={steps}", "threads=1", "watchdog.restarts=100",
        "watchdog.silent_s=300",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    files = RunFiles(arguments.out)
    draw = random.Random(arguments.seed)
    words = command(arguments.model, arguments.out, arguments.steps)
    run = subprocess.Popen(words)
    killed: Counter[str] = Counter()
    while run.poll() is None and killed.total() < arguments.kills:
        name = draw.choice(["engine-0", "orchestrator", "trainer", "supervisor"])
        if not wait_for_progress(files, run):
            continue
        time.sleep(draw.uniform(0, 2))
        if name == "supervisor":
            run.kill()
            run.wait()
            run = subprocess.Popen(words)
        else:
            kill(files, name)
        killed[name] += 1
        print(f"kill {killed.total()}: {name} at step {Progress.read(files.progress).step}")
    code = run.wait()
    print(f"exit code {code}; killed {dict(killed)}")
    check(files, arguments.steps)


def wait_for_progress(files: RunFiles, run: subprocess.Popen[bytes]) -> bool:
    """Wait until another group has ended; false when the run is over before."""
    before = files.ledger.stat().st_size if files.ledger.exists() else 0
    while run.poll() is None:
        if files.ledger.exists() and files.ledger.stat().st_size > before:
            return True
        time.sleep(0.05)
    return False


def kill(files: RunFiles, name: str) -> None:
    """Kill a process at once."""
    sign = read_sign(files.processes, name)
    if sign is not None:
        try:
            os.kill(sign.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def check(files: RunFiles, steps: int) -> None:
    """Compare ledger, shards and files; raise AssertionError where they disagree."""
    with Ledger(files.ledger) as ledger:
        pass
    lines = [json.loads(line) for line in files.ledger.read_text().splitlines()]
    admitted = [line["id"] for line in lines if line["kind"] == "admit"]
    used = Counter(line["id"] for line in lines if line["kind"] == "used")
    assert admitted == list(range(len(admitted)))
    assert ledger.problems() == []
    assert max(used.values()) == 1
    stored = Counter(row["trajectory_id"] for row in read_shards(files.trajectories))
    assert max(stored.values()) == 1
    groups = Counter(int(key.partition("-")[0]) for key in stored)
    assert set(groups.values()) == {GROUP_SIZE}
    assert len(groups) == ledger.final.total()
    left = set(GroupStore(files.groups).ids())
    assert ledger.ready.keys() <= left <= ledger.ready.keys() | ledger.open.keys()
    trained = Counter(step for step in ledger.trained_at.values() if step > 0)
    assert sorted(trained) == list(range(1, steps + 1))
    assert set(trained.values()) == {4}
    print(f"{len(admitted)} groups admitted, {dict(ledger.final)}; accounting exact")


if __name__ == "__main__":
    main()
