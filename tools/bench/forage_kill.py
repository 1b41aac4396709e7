"""Collect trajectories with `cwm forage run`, killed with SIGKILL again and again: none is lost.

    python tools/bench/forage_kill.py --episodes 200 --kills 5

Agents are scripted, the sandbox is the local one. Prints what was found in the shards.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "packages/cwm-forager/tests"))

from forager_repository import (  # type: ignore[import-not-found]
    libraries,
    shapes_instance,
)

from cwm_core.data.shards import read_shards, verify_shards
from cwm_forager.tasks.instance import write_instances

AGENTS = ("noop", "oracle", "looker", "cheater")


def command(directory: Path, samples: int, concurrency: int) -> list[str]:
    look = '["<tool: bash>\\nls; grep -rn def shapes\\n</tool>","I give up."]'
    return [
        *[sys.executable, "-m", "cwm_core", "forage", "run", str(directory / "run")],
        *["environment=swe", f"environment.tasks={directory / 'tasks.jsonl'}"],
        *["environment.sandbox=local", f"environment.sandbox.read_only=[{libraries()}]"],
        *["agents.noop.name=noop", "agents.oracle.name=oracle", "agents.looker.name=scripted"],
        *[f"agents.looker.turns={look}", "agents.cheater.name=cheater"],
        *["agents.cheater.trick=conftest", f"samples={samples}", f"concurrency={concurrency}"],
        "rows_per_shard=32",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tasks = max(1, options.episodes // (len(AGENTS) * 5))
        instances = [shapes_instance(directory, id=f"shapes-{n}") for n in range(tasks)]
        write_instances(directory / "tasks.jsonl", instances)
        line = command(directory, 5, options.concurrency)
        started = time.monotonic()
        for number in range(options.kills):
            seconds = chance.uniform(8, 40)
            process = subprocess.Popen(line, stderr=subprocess.PIPE, start_new_session=True)
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            print(f"kill {number + 1} after {seconds:.1f} s", flush=True)
        subprocess.run(line, check=True)
        shards = directory / "run" / "trajectories"
        verify_shards(shards)
        found = Counter(row["trajectory_id"] for row in read_shards(shards))
        wanted = {
            f"{each.id}#{agent}#{sample}"
            for each in instances
            for agent in AGENTS
            for sample in range(5)
        }
        print(f"{len(wanted)} episodes wanted, {found.total()} found in {len(found)} ids")
        print(f"lost: {len(wanted - set(found))}, twice: {sum(c > 1 for c in found.values())}")
        print(f"{time.monotonic() - started:.0f} s with {options.kills} kills")
        assert set(found) == wanted and found.total() == len(wanted)


if __name__ == "__main__":
    main()
