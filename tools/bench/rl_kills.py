"""Kill processes of one run at random moments with ``kill -9``; the accounting must stay exact.

Killed are the engine, the orchestrator, the trainer, sandboxes of the environment, and the
supervisor, after whose death the same command is started again. By default the run is a small one:
a model of some thousand parameters, and an environment whose every step runs in a sandbox. With
`--model` it is one of the environment `lookup`.

    python tools/bench/rl_kills.py --out runs/rl-kills --kills 20
    python tools/bench/rl_kills.py --out runs/rl-kills --model runs/rl-tools/warm
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "packages" / "cwm-rl" / "tests"))
from rl_runs import (  # type: ignore[import-not-found]
    Run,
    check_accounting,
    install_parity,
    write_tiny_model,
)

from cwm_core.rundir import read_metrics
from cwm_rl.board.beacon import read_sign
from cwm_rl.board.files import Progress
from cwm_rl.rollout.group import Status

GROUPS, SIZE = 4, 4
VICTIMS = ("engine-0", "orchestrator", "trainer", "sandbox", "supervisor")
LONGEST_S = 1200
"""Without any progress."""


def settings(model: Path | None, work: Path, steps: int) -> list[str]:
    """Return the words of a small run; write its model where none is given."""
    words = [
        f"group_size={SIZE}", f"batch.groups={GROUPS}", "max_staleness=2", "optimizer.lr=1e-4",
        "checkpoint_every_steps=3", f"max_steps={steps}", "threads=1", "watchdog.restarts=100",
        "watchdog.silent_s=600", "watchdog.fruitless_groups=100000",
    ]  # fmt: skip
    if model is not None:
        lookup = ["environments.lookup=lookup", "tasks.lookup.max_turns=2"]
        return [f"init_from={model}", *lookup, "tasks.lookup.max_tokens=24", *words]
    install_parity(work / "site")
    write_tiny_model(work / "model")
    parity = ["environments.parity=parity", "environments.parity.sandboxed=true"]
    return [f"init_from={work / 'model'}", *parity, "tasks.parity.max_tokens=4", *words]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="is emptied before")
    parser.add_argument("--model", type=Path, help="a model that knows the form of `lookup`")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60, help="after which the run ends")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    draw = random.Random(given.seed)
    words = settings(given.model, given.out, given.steps)
    run = Run(given.out / "run", words, given.out / "site", given.out / "output.txt")
    run.start()
    killed: Counter[str] = Counter()
    victims = [name for name in VICTIMS if name != "sandbox" or given.model is None]
    while killed.total() < given.kills and wait_for_progress(run):
        time.sleep(draw.uniform(0, 0.5))
        # every kind is killed equally often, in random order
        least = min(killed[name] for name in victims)
        name = draw.choice([name for name in victims if killed[name] == least])
        if not kill(run, name):
            continue
        killed[name] += 1
        step = Progress.read(run.files.progress).step
        print(f"kill {killed.total()}: {name} at step {step}", flush=True)
    code = run.finish(LONGEST_S)
    print(f"exit code {code}; killed {dict(killed)}")
    assert code == 0, run.said()
    ledger = check_accounting(run.files, steps=given.steps, groups=GROUPS, size=SIZE)
    metrics = read_metrics(run.files.root / "metrics.jsonl")
    assert [line["step"] for line in metrics] == list(range(1, given.steps + 1))
    assert ledger.final[Status.TRAINED] == GROUPS * given.steps
    counted = {status.value: count for status, count in ledger.final.items()}
    print(f"{ledger.next_id} groups admitted: {counted}; accounting exact")


def wait_for_progress(run: Run) -> bool:
    """Wait until another group has ended; false when the run is over before."""
    ledger = run.files.ledger
    before = ledger.stat().st_size if ledger.exists() else 0
    until = time.monotonic() + LONGEST_S
    while run.process.poll() is None:
        if ledger.exists() and ledger.stat().st_size > before:
            return True
        assert time.monotonic() < until, run.said()
        time.sleep(0.02)
    return False


def kill(run: Run, name: str) -> bool:
    """Kill a process at once; the supervisor is started again. False if there is none."""
    if name == "supervisor":
        run.process.kill()
        run.process.wait()
        run.start()
        return True
    if name == "sandbox":
        return kill_sandbox(run)
    return bool(run.kill(name))


def kill_sandbox(run: Run) -> bool:
    """Kill a sandbox of the orchestrator, if one runs within some seconds."""
    import psutil

    until = time.monotonic() + 5
    while time.monotonic() < until:
        sign = read_sign(run.files.processes, "orchestrator")
        try:
            inside = psutil.Process(sign.pid).children() if sign is not None else []
            if inside:
                inside[0].kill()
                return True
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.01)
    return False


if __name__ == "__main__":
    main()
