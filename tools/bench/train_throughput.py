"""Training throughput of our decoder against Hugging Face's, on identical packed batches.

    uv run python tools/bench/train_throughput.py [--shape mini] [--steps 9] [--json FILE]

Both models begin with the same weights and take the same optimizer steps (AdamW, bf16 autocast
under accelerate) in turns, in one process, so that a change of the machine's speed meets both. The
ratio is the median over steps of the ratio of their times; losses are those of each step. What the
comparison holds equal is said in `training_pair.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from training_pair import SHAPES, SIDES, packed_batch


def main() -> None:
    given = _arguments()
    if given.threads:
        torch.set_num_threads(given.threads)
    results = [measure(shape, given) for shape in given.shape]
    for result in results:
        print(
            f"{result['shape']}: {result['ratio']:.2f}x  ({result['tokens_per_s']['ours']:,.0f} "
            f"against {result['tokens_per_s']['huggingface']:,.0f} tokens/s; losses differ by at "
            f"most {result['loss_difference']:.1e})"
        )
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", nargs="+", default=["mini", "40m"], choices=SHAPES)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=2048, help="tokens of a row")
    parser.add_argument("--median", type=float, default=300, help="tokens of a document")
    parser.add_argument("--steps", type=int, default=9, help="counted steps, after one uncounted")
    parser.add_argument("--precision", default="bf16", choices=["bf16", "no"])
    parser.add_argument("--threads", type=int, help="torch's threads (default: its own choice)")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def measure(shape: str, given: argparse.Namespace) -> dict[str, Any]:
    """Train both sides side by side; return tokens per second, their ratio and the losses."""
    config = SHAPES[shape]
    sides = {name: build(config, given.precision) for name, build in SIDES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    losses: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(given.steps + 1):
        batch = packed_batch(config.vocab_size, given.rows, given.length, given.median, number)
        for name, side in sides.items():
            started = time.perf_counter()
            losses[name].append(float(side.step(batch)))
            seconds[name].append(time.perf_counter() - started)
    counted = {name: times[1:] for name, times in seconds.items()}
    tokens = given.rows * given.length
    return {
        "shape": shape,
        "precision": given.precision,
        "threads": torch.get_num_threads(),
        "ratio": statistics.median(b / a for a, b in zip(*counted.values())),
        "tokens_per_s": {name: tokens / statistics.median(t) for name, t in counted.items()},
        "loss_difference": max(abs(a - b) for a, b in zip(*losses.values())),
        "losses": losses,
    }


if __name__ == "__main__":
    main()
