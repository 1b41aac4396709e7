"""What RL gains: pass@1 on held-out tasks before and after, over several seeds.

    python tools/bench/rl_learning.py lookup --model runs/rl-tools/warm --out runs/rl-learning
    python tools/bench/rl_learning.py output --model runs/questions/train --data runs/heldout ...

pass@1 is the share of right episodes, sampled at temperature 1, one per held-out task.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

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


async def pass_at_1(model: Path, environment: Any, split: str, tasks: int, tokens: int) -> float:
    """Return the share of right episodes, one per held-out task."""
    from cwm_train.generate.config import Local

    engine = Local(checkpoint=initial_directory(model), threads=1, max_batch=64).build()
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

    found = await gather_bounded(play, islice(built.tasks(split), tasks), limit=128)
    await engine.close()
    return statistics.fmean(found.in_order())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["lookup", "output"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="traces, for output prediction")
    parser.add_argument("--heldout", type=Path, help="traces of other programs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("overrides", nargs="*", help="of cwm rl train, after --")
    arguments = parser.parse_args()
    if arguments.task == "lookup":
        heldout, split = registry().make("environments", "lookup"), "test"
        chosen = ["environments.task=lookup", "tasks.task.max_turns=2"]
    else:
        heldout = registry().make("environments", "output_prediction", data=arguments.heldout)
        split = "test"
        chosen = [
            "environments.task=output_prediction",
            f"environments.task.data={arguments.data}",
            "tasks.task.max_turns=1",
        ]
    chosen.append(f"tasks.task.max_tokens={arguments.tokens}")

    def measure(model: Path) -> float:
        return asyncio.run(pass_at_1(model, heldout, split, arguments.tasks, arguments.tokens))

    before = measure(arguments.model)
    print(f"before: {100 * before:.1f} %", flush=True)
    gains = []
    for seed in range(arguments.seeds):
        out = arguments.out / f"seed-{seed}"
        words = ["rl", "train", f"init_from={arguments.model}", f"out={out}", f"seed={seed}"]
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "cwm_core", *words, *chosen, *arguments.overrides], check=True
        )
        minutes = (time.monotonic() - started) / 60
        after = measure(out)
        gains.append(100 * (after - before))
        print(f"seed {seed}: {100 * after:.1f} % after {minutes:.1f} minutes", flush=True)
    spread = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    print(f"gain: {statistics.fmean(gains):.1f} points, standard error {spread:.1f}, {gains}")


if __name__ == "__main__":
    main()
