"""The orchestrator alone: 1,000 simulated engines, 50,000 episodes at once, on one core.

Engines sleep and answer; everything else is real: admission, ledger, pool, rollouts, grading,
advantages, stored groups. Reported is the CPU time of the process per turn.

    python tools/bench/rl_orchestrator.py
    python tools/bench/rl_orchestrator.py --episodes 5000 --engines 100
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "packages" / "cwm-rl" / "tests"))
from rl_world import (  # type: ignore[import-not-found]
    CoinConfig,
    CoinEngine,
    CountingTrainer,
    orchestrator_of,
    rl_config,
)

from cwm_rl.train_config import BatchConfig, EnginesConfig

GROUP = 8


async def measure(engines: int, episodes: int, turns: int, latency_s: float) -> None:
    groups = episodes // GROUP
    with tempfile.TemporaryDirectory() as directory:
        config = rl_config(
            Path(directory),
            environments={"coin": CoinConfig(name="coin", turns=turns, tasks=10_000)},
            group_size=GROUP,
            batch=BatchConfig(groups=groups),
            max_staleness=0,
            concurrency=groups,
            engines=EnginesConfig(count=1, requests=2 * episodes // engines),
        )
        simulated = [CoinEngine(latency_s) for _ in range(engines)]
        orchestrator = orchestrator_of(config, *simulated)
        trainer = CountingTrainer(config)
        trainer.publish()
        cpu, wall = time.process_time(), time.monotonic()
        work = asyncio.create_task(orchestrator.run())
        most = 0
        while orchestrator.ledger.groups.total() < groups:
            await asyncio.sleep(0.25)
            most = max(most, orchestrator.pool.running)
            if work.done():
                work.result()
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    played = sum(len(engine.asked) for engine in simulated)
    loads = [len(engine.asked) for engine in simulated]
    print(
        f"{engines} engines, {episodes} episodes, {played} turns, at most {most} requests at once; "
        f"{cpu:.1f} CPU-s in {wall:.1f} s: {1e6 * cpu / played:.0f} us of CPU per turn; "
        f"requests per engine {min(loads)} to {max(loads)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", type=int, default=1000)
    parser.add_argument("--episodes", type=int, default=50_000)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--latency", type=float, default=20.0)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    asyncio.run(measure(arguments.engines, arguments.episodes, arguments.turns, arguments.latency))


if __name__ == "__main__":
    main()
