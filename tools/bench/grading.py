"""Sandboxed executions per second: warm sandboxes against one fresh interpreter per sample.

    python tools/bench/grading.py --data HumanEval.jsonl.gz --repeats 3
    python tools/bench/grading.py --data HumanEval.jsonl.gz --samples 20

The first runs the same programs, reference solutions of HumanEval with their tests, in three ways
by turns, and prints the median ratios: in the warm sandboxes (`Grader.run`), with the tests in a
process apart (`Grader.check`), and in a fresh `python3` inside bubblewrap, one per sample, as many
at once as there are workers. Namespaces, limits and file systems are comparable. The second grades
164 problems times so many samples and prints the wall time.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cwm_core.cores import usable_cores
from cwm_eval.benchmarks import humaneval
from cwm_eval.grading.config import Grading
from cwm_eval.grading.pool import Grader

TIMES = 5
"""How often the warm ways do what the slow one does once, so that each takes a second or so."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="HumanEval.jsonl.gz")
    parser.add_argument("--workers", type=int, default=usable_cores() * 3 // 2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--count", type=int, default=40, help="solutions per repeat")
    parser.add_argument("--samples", type=int, default=0, help="grade all problems so many times")
    given = parser.parse_args()
    rows = [json.loads(line) for line in gzip.decompress(given.data.read_bytes()).splitlines()]
    with Grader(Grading(workers=given.workers)) as grader:
        warm(grader, rows[: given.workers * 4])
        if given.samples:
            took = timed(lambda: warm(grader, rows * given.samples))
            count = len(rows) * given.samples
            print(f"{count} samples graded in {took:.1f} s ({count / took:.0f}/s)")
        else:
            compare(grader, rows[: given.count], given)


def compare(grader: Grader, rows: list[Any], given: argparse.Namespace) -> None:
    run_ratios, check_ratios = [], []
    many = rows * TIMES
    for repeat in range(given.repeats):
        run = len(many) / timed(lambda: programs(grader, many))
        check = len(many) / timed(lambda: warm(grader, many))
        slow = len(rows) / timed(lambda: fresh(rows, given.workers))
        run_ratios.append(run / slow)
        check_ratios.append(check / slow)
        print(
            f"repeat {repeat + 1}: run {run:.1f}/s, check {check:.1f}/s, fresh {slow:.1f}/s: "
            f"x{run_ratios[-1]:.1f} and x{check_ratios[-1]:.1f}",
            flush=True,
        )
    print(
        f"median ratios: run {statistics.median(run_ratios):.1f}, "
        f"check {statistics.median(check_ratios):.1f}"
    )


def warm(grader: Grader, rows: list[Any]) -> None:
    async def work() -> None:
        jobs = (grader.check(humaneval.reference(row), humaneval.tests(row)) for row in rows)
        found = await asyncio.gather(*jobs)
        assert all(verdict.passed for verdict in found)

    asyncio.run(work())


def programs(grader: Grader, rows: list[Any]) -> None:
    async def work() -> None:
        found = await asyncio.gather(*(grader.run(program(row), "") for row in rows))
        assert all(printed.verdict.passed for printed in found)

    asyncio.run(work())


def program(row: Any) -> str:
    """Return solution and tests as one program."""
    return f"{humaneval.reference(row)}\n{row['test']}\ncheck({row['entry_point']})\n"


def fresh(rows: list[Any], workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:
        assert all(pool.map(one_fresh, rows))


def one_fresh(row: Any) -> bool:
    prefix = sys.base_prefix
    line = ["bwrap", "--unshare-all", "--new-session", "--die-with-parent", "--clearenv"]
    for path in ("/usr", "/bin", "/lib", "/lib64"):
        if Path(path).is_symlink():
            line += ["--symlink", str(Path(path).readlink()), path]
        elif Path(path).exists():
            line += ["--ro-bind", path, path]
    if not prefix.startswith("/usr"):
        line += ["--ro-bind", prefix, prefix]
    line += ["--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/workspace", "--chdir", "/workspace"]
    line += ["--", "prlimit", "--cpu=10", f"--as={2**30}", "--nproc=1024", "--core=0", "--"]
    line += [f"{prefix}/bin/python3", "-I", "-"]
    done = subprocess.run(line, input=program(row).encode(), capture_output=True, check=False)
    return done.returncode == 0


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
