"""What RL gains: pass@1 on held-out tasks before and after, over several seeds.

    cwm quickstart
    cwm run rl_tools steps=1
    python tools/bench/rl_learning.py lookup --model runs/rl-tools/warm --out runs/rl-lookup
    python tools/bench/rl_programs.py --out runs/rl-programs    # then trace them, as it says
    python tools/bench/rl_learning.py output --model runs/quickstart/train \
        --data runs/rl-programs/train --heldout runs/rl-programs/test --out runs/rl-output

`lookup` takes two turns; `output` is the result of a call, told by predicting its execution up to
the end. pass@1 is the share of right episodes, sampled at temperature 1, one per held-out task.
Words after `--` are overrides of `cwm rl train`. The same command continues runs that were stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

from scipy.stats import t as student  # type: ignore[import-untyped]

from cwm_core.engine.base import SamplingParams
from cwm_core.env.concurrency import gather_bounded
from cwm_core.env.environment import Task
from cwm_core.env.rollout import Limits, rollout
from cwm_core.plugins import registry
from cwm_core.text import special_tokens as st
from cwm_rl.orchestrator.setup import STOPS
from cwm_rl.rollout.guard import GuardedEnvironment
from cwm_rl.rollout.play import SeededEngine
from cwm_rl.rollout.seeds import derived
from cwm_rl.trainer.setup import initial_directory

SETTINGS = {
    "lookup": {
        "environments.task": "lookup",
        "tasks.task.max_turns": "2",
        "tasks.task.max_tokens": "24",
        "batch.groups": "16",
        "group_size": "8",
        "optimizer.lr": "2e-4",
        "loss.divisor": "2048",
        "max_staleness": "2",
        "max_steps": "60",
    },
    "output": {
        "environments.task": "trace_prediction",
        "environments.task.reward": "output",
        "tasks.task.max_turns": "1",
        "tasks.task.max_tokens": "112",
        "batch.groups": "16",
        "group_size": "8",
        "optimizer.lr": "5e-4",
        "loss.divisor": "8192",
        "max_staleness": "2",
        "max_steps": "120",
    },
}


async def pass_at_1(model: Path, environment: Any, tasks: int, tokens: int) -> float:
    """Return the share of right episodes, one per held-out task."""
    from cwm_train.generate.config import Local

    engine = Local(checkpoint=initial_directory(model), threads=2, max_batch=64).build()
    tokenizer = engine.tokenizer
    built = environment.build(tokenizer)
    guarded = GuardedEnvironment(built, 60.0, tokenizer.special_ids.get(st.BEGIN_OF_TEXT))
    stops = tuple(tokenizer.special_ids[name] for name in STOPS)
    params = SamplingParams(tokens, 1.0, stop_token_ids=stops)

    async def play(task: Task) -> float:
        player = SeededEngine(engine, derived("evaluation", task.id))
        limits = Limits(turns=4, tokens=1024)
        played = await rollout(guarded, task, player, params, limits=limits)
        return float(played.rewards.get("environment", 0.0) >= 1)

    found = await gather_bounded(play, islice(built.tasks("test"), tasks), limit=128)
    await engine.close()
    return statistics.fmean(found.in_order())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(SETTINGS))
    parser.add_argument("--model", type=Path, required=True, help="to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="traces to learn from")
    parser.add_argument("--heldout", type=Path, help="traces to measure on; by default of --data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=400, help="held-out tasks")
    parser.add_argument("--plot", type=Path, help="SVG file for the curves")
    parser.add_argument("overrides", nargs="*", help="of cwm rl train, after --")
    given = parser.parse_args()
    settings = dict(SETTINGS[given.task])
    options: dict[str, Any] = {}
    if given.task == "output":
        settings["environments.task.data"] = str(given.data)
        options = {"data": given.heldout or given.data, "reward": "output"}
    settings |= dict(word.split("=", 1) for word in given.overrides)
    heldout = registry().make("environments", settings["environments.task"], **options)

    def measure(model: Path) -> float:
        tokens = int(settings["tasks.task.max_tokens"])
        return asyncio.run(pass_at_1(model, heldout, given.tasks, tokens))

    before = measure(given.model)
    print(f"before: {100 * before:.1f} % of {given.tasks} held-out tasks", flush=True)
    runs = [given.out / f"seed-{seed}" for seed in range(given.seeds)]
    found = []
    for seed, run in enumerate(runs):
        minutes, cpu = train(given.model, run, seed, settings)
        after = measure(run)
        found.append(after)
        spent = f"{minutes:.1f} minutes, {cpu:.0f} CPU seconds"
        print(f"seed {seed}: {100 * after:.1f} % after {spent}", flush=True)
    gains = [100 * (after - before) for after in found]
    print(f"gain: {statistics.fmean(gains):.1f} points{interval(gains)}, {gains}")
    if given.plot:
        draw(given.plot, given.task, runs, before, found)


def draw(path: Path, title: str, runs: list[Path], before: float, after: list[float]) -> None:
    """Draw shares of solved episodes: as they were played (lines), on held-out tasks (dots)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axis = figure.subplots()
    for number, (run, end) in enumerate(zip(runs, after, strict=True)):
        groups = [json.loads(line) for line in (run / "groups.jsonl").read_text().splitlines()]
        solved: dict[int, list[float]] = {}
        for group in groups:
            solved.setdefault(max(group["versions"], default=0), []).append(group["solved"])
        steps = sorted(solved)
        line = axis.plot(steps, [100 * statistics.fmean(solved[step]) for step in steps], lw=0.8)[0]
        axis.plot(
            steps[-1], 100 * end, "o", color=line.get_color(), label=f"seed {number}, held out"
        )
    axis.plot(0, 100 * before, "ko", label="start")
    axis.set(xlabel="step", ylabel="solved episodes (%)", ylim=(0, 100), title=title)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def train(model: Path, out: Path, seed: int, settings: dict[str, str]) -> tuple[float, float]:
    """Run `cwm rl train`; return its minutes and the CPU seconds of all its processes."""
    words = [f"{key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "cwm_core", "rl", "train", f"init_from={model}"]
    started, before = time.monotonic(), _cpu_s()
    subprocess.run([*command, f"out={out}", f"seed={seed}", "threads=1", *words], check=True)
    return (time.monotonic() - started) / 60, _cpu_s() - before


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def interval(values: list[float]) -> str:
    """Return Student's 95 % interval of the mean, as text; empty for one value."""
    if len(values) < 2:
        return ""
    error = statistics.stdev(values) / len(values) ** 0.5
    half = float(student.ppf(0.975, len(values) - 1)) * error
    mean = statistics.fmean(values)
    return f" (95 % interval {mean - half:.1f} to {mean + half:.1f})"


if __name__ == "__main__":
    main()
