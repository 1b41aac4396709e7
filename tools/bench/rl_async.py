"""Asynchronous against synchronous training, with environments whose latency is heavy-tailed.

Orchestrator, ledger, stored groups, queue, staleness bound and loss are the real ones; the policy
is a table, the engine draws from it after a simulated time, and the environment answers after a
log-normal one whose mean is a third of the generation's. The engine has places for the episodes of
one step, in both modes; latency in the environment takes none. Both learn until the policy's
expected reward is the same; old episodes teach less, so the asynchronous one needs more steps.

    python tools/bench/rl_async.py
    python tools/bench/rl_async.py --virtual         # simulated time: the design alone, in seconds
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[2] / "packages" / "cwm-rl" / "tests"))
from rl_world import (  # type: ignore[import-not-found]
    STOP,
    Coin,
    CoinConfig,
    CoinEngine,
    CountingTrainer,
    orchestrator_of,
    rl_config,
)
from virtual_time import run_virtual

from cwm_core.engine.base import Completion, SamplingParams
from cwm_core.env.environment import Action, Transition
from cwm_rl.algorithm.loss import cwm_loss
from cwm_rl.algorithm.tokens import TokenBatch, Totals
from cwm_rl.board.files import Published
from cwm_rl.rollout.group import Group
from cwm_rl.train_config import BatchConfig, EnginesConfig

GENERATION_S = 0.30
"""Mean time of one answer; an episode has two. All times are multiplied by --scale: on a busy
machine small ones drown in the time that this process waits for a core."""
SIGMA = 1.5
"""Of the log-normal latency of the environment: its mean is three times its median."""
LEARNING_S = 0.25
SCALE = [1.0]
TOKENS, LEARNING_RATE = 32, 8.0
MOST_STEPS = 200


class SlowCoin(Coin):
    """The coin, whose every step takes a heavy-tailed time."""

    async def step(self, state: Any, action: Action) -> Transition:
        """Answer late."""
        mean = SCALE[0] * GENERATION_S / 3
        draw = random.Random(f"{state[0]}:{state[1]}:{action.token_ids}")
        await asyncio.sleep(draw.lognormvariate(math.log(mean) - SIGMA**2 / 2, SIGMA))
        return await super().step(state, action)


class SlowCoinConfig(CoinConfig):
    """The coin with latency."""

    def build(self, tokenizer: Any = None) -> SlowCoin:
        """Build the environment."""
        return SlowCoin(self)


class TableEngine(CoinEngine):
    """Draws the first token of an answer from a softmax over a table that is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.table = np.zeros(TOKENS)

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Draw a token, which takes its time."""
        await asyncio.sleep(SCALE[0] * GENERATION_S * random.Random(params.seed).uniform(0.5, 1.5))
        logprobs = self.table - np.log(np.exp(self.table).sum())
        token = int(np.random.default_rng(params.seed).choice(TOKENS, p=np.exp(logprobs)))
        versions = (self.version, self.version)
        return Completion((token, STOP), (float(logprobs[token]), 0.0), "stop", "", versions)

    async def update_weights(self, weights: Path, version: int) -> None:
        """Take the table of a file."""
        self.table = np.load(weights)
        self.version = version


class TableTrainer(CountingTrainer):
    """Moves the table by the gradient of CWM's loss."""

    def __init__(self, config: Any, wanted: float) -> None:
        super().__init__(config)
        self.wanted = wanted
        self.table = torch.zeros(TOKENS, requires_grad=True)
        self.trajectories = 0

    @property
    def reward(self) -> float:
        """Expected reward of the table: two answers, each of an even token."""
        return float(self.table.detach().softmax(-1)[::2].sum() ** 2)

    def publish(self, finished: bool = False) -> None:
        """Write the table for the engine."""
        self.files.weights.mkdir(parents=True, exist_ok=True)
        path = self.files.weights / f"{self.step}.npy"
        np.save(path, self.table.detach().numpy())
        super().publish(finished)
        published = Published.read(self.files.current)
        assert published is not None
        Published(published.version, str(path), published.serial).write(self.files.current)

    @property
    def done(self) -> bool:
        """Whether the reward is reached, or the budget used."""
        return self.reward >= self.wanted or super().done

    def learn(self, groups: list[Group]) -> None:
        """Take one step."""
        super().learn(groups)
        tokens, old, advantages, episodes = [], [], [], []
        for number, member in enumerate(m for g in groups for m in g.members if m.trained):
            for turn in member.trajectory.actions:
                tokens.append((turn.token_ids or ())[0])
                old.append((turn.logprobs or ())[0])
                advantages.append(member.advantage)
                episodes.append(number)
        self.trajectories += sum(len(g.members) for g in groups)
        logprobs = self.table.log_softmax(-1)[torch.tensor(tokens)]
        batch = TokenBatch(
            logprobs, torch.tensor(old), torch.tensor(advantages), torch.tensor(episodes)
        )
        loss = cwm_loss(batch, Totals(len(tokens), 0), divisor=float(len(tokens))).loss
        (gradient,) = torch.autograd.grad(loss, self.table)
        with torch.no_grad():
            self.table -= LEARNING_RATE * gradient


async def measure(wanted: float, staleness: int, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        environments = {"coin": SlowCoinConfig(name="coin", turns=2, tasks=10_000)}
        config = rl_config(
            Path(directory),
            environments=environments,
            group_size=4,
            batch=BatchConfig(groups=8),
            max_staleness=staleness,
            max_steps=MOST_STEPS,
            seed=seed,
            engines=EnginesConfig(count=1, requests=32),
        )
        trainer = TableTrainer(config, wanted)
        orchestrator = orchestrator_of(config, TableEngine())
        clock = asyncio.get_running_loop()
        started = clock.time()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(orchestrator.run())
            tasks.create_task(trainer.run(SCALE[0] * LEARNING_S))
        seconds = clock.time() - started
        return {
            "per_s": trainer.trajectories / seconds,
            "steps": float(trainer.step),
            "reward": trainer.reward,
            "staleness": float(max(trainer.ages)),
            "seconds": seconds,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reward", type=float, default=0.9, help="at which a run ends")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--staleness", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--virtual", action="store_true", help="simulated instead of real time")
    arguments = parser.parse_args()
    SCALE[0] = arguments.scale
    torch.set_num_threads(1)
    run = run_virtual if arguments.virtual else asyncio.run
    rates, times = [], []
    for seed in range(arguments.repeats):
        found = {}
        for name, bound in (("sync", 0), ("async", arguments.staleness)):
            found[name] = run(measure(arguments.reward, bound, seed))
            shown = ", ".join(f"{key} {value:.3f}" for key, value in found[name].items())
            print(f"seed {seed} {name}: {shown}", flush=True)
        rates.append(found["async"]["per_s"] / found["sync"]["per_s"])
        times.append(found["sync"]["seconds"] / found["async"]["seconds"])
    for name, ratios in (("trajectories per second", rates), ("sooner at the reward", times)):
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"async/sync, {name}: median {statistics.median(ratios):.2f} ({each})")


if __name__ == "__main__":
    main()
