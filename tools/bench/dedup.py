"""`cwm forage dedup` on synthetic trajectories: time, memory, and recall against exact similarity.

    python tools/bench/dedup.py --count 100000

Two thirds of the trajectories are altered copies of earlier ones of their repository, at Jaccard
similarities from 0.3 to 1. Recall: of the trajectories of a sample of repositories that have an
earlier kept one at similarity 0.7 or more, by brute force over all pairs, how many were dropped.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from cwm_core.data.records import TRAJECTORY_SCHEMA, trajectory_to_row
from cwm_core.data.shards import ShardWriter, read_shards
from cwm_core.env.trajectory import Trajectory, Turn
from cwm_forager.dedup import actions_text, jaccard, shingle_hashes

WORDS = 4000
AT = 0.7


def synthetic(count: int, repositories: int, words: int, chance: random.Random) -> list[str]:
    """Return texts; text i belongs to repository i % repositories."""
    texts: list[str] = []
    for index in range(count):
        earlier = range(index % repositories, index, repositories)
        if earlier and chance.random() < 2 / 3:
            base = texts[chance.choice(earlier)].split(" ")
            for _ in range(int(len(base) * chance.choice((0.0, 0.01, 0.02, 0.03, 0.05, 0.1)))):
                base[chance.randrange(len(base))] = f"w{chance.randrange(WORDS)}"
            texts.append(" ".join(base))
        else:
            length = int(words * chance.uniform(0.5, 1.5))
            texts.append(" ".join(f"w{chance.randrange(WORDS)}" for _ in range(length)))
    return texts


def write(texts: list[str], repositories: int, directory: Path) -> None:
    with ShardWriter(directory, TRAJECTORY_SCHEMA) as writer:
        for index, text in enumerate(texts):
            half = len(text) // 2
            turns = (
                Turn("prompt", "Repair it."),
                Turn("action", text[:half]),
                Turn("observation", f"seen {index}"),
                Turn("action", text[half:]),
            )
            metadata = {"repository": f"repository-{index % repositories}"}
            row = trajectory_to_row(Trajectory("task", turns, metadata=metadata), f"t{index:07d}")
            writer.write(row)
        writer.finish()


def recall(data: Path, kept: set[str], sample: int) -> tuple[int, int]:
    """Return how many should go by brute force, and how many of them went."""
    groups: dict[str, list[tuple[str, np.ndarray]]] = defaultdict(list)
    for row in read_shards(data):
        name = json.loads(row["metadata"])["repository"]
        if int(name.rpartition("-")[2]) < sample:
            groups[name].append((row["trajectory_id"], shingle_hashes(actions_text(row["turns"]))))
    wanted = gone = 0
    for members in groups.values():
        before: list[np.ndarray] = []
        for name, hashes in members:
            similar = any(jaccard(hashes, other) >= AT for other in before)
            wanted += similar
            gone += similar and name not in kept
            if name in kept:
                before.append(hashes)
    return wanted, gone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--repositories", type=int, default=400)
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--sample", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data, out = Path(name) / "data", Path(name) / "out"
        texts = synthetic(
            options.count, options.repositories, options.words, random.Random(options.seed)
        )
        write(texts, options.repositories, data)
        del texts
        started = time.monotonic()
        line = [sys.executable, "-m", "cwm_core", "forage", "dedup", str(data), str(out)]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
        wall = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
        report = json.loads((out / "report.json").read_text())
        print(f"{report['read']} read, {report['kept']} kept, {report['dropped']} dropped")
        print(f"{wall:.0f} s, {cpu:.0f} s of CPU, {peak:.2f} GiB at most")
        kept = {row["trajectory_id"] for row in read_shards(out / "trajectories")}
        wanted, gone = recall(data, kept, options.sample)
        print(f"recall at {AT}: {gone} of {wanted} = {gone / wanted:.4f}")


if __name__ == "__main__":
    main()
