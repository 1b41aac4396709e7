"""Peak memory of one training step of our decoder against Hugging Face's, each in its own process.

    uv run python tools/bench/train_memory.py [--lengths 4096 16384]
                                              [--recompute none] [--precision bf16] [--json FILE]

A step is forward, backward and AdamW under bf16 autocast (slow on CPUs without bf16 instructions:
``--precision no`` takes fp32), on one row of packed documents; what both
sides have in common is said in `training_pair.py`. The figure is the most resident memory of the
process, less what it had before the model was built. A side that wants more than `--limit-gb` is
refused memory; then only "more than" is known of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

SIDES = ("ours", "huggingface")
REFUSED = re.compile(r"you tried to allocate (\d+) bytes")


def main() -> None:
    given = _arguments()
    if given.side:
        print(json.dumps({"bytes": measured(given)}))
        return
    results = []
    for length in given.lengths:
        found = {side: in_process(side, length, given) for side in SIDES}
        results.append({"length": length, **found})
        print(f"{length} tokens: {_sentence(found['ours'], found['huggingface'], given.limit_gb)}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 16_384])
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--median", type=float, default=2000, help="tokens of a document")
    parser.add_argument("--recompute", default="none", choices=["none", "selective", "full"])
    parser.add_argument("--precision", default="bf16", choices=["bf16", "no"])
    parser.add_argument("--limit-gb", type=float, default=16.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def _sentence(ours: float | None, theirs: float | None, limit: float) -> str:
    if ours is None:
        return f"ours wants more than {limit:.1f} GB"
    if theirs is None:
        return (
            f"ours {ours:.2f} GB, Hugging Face's more than {limit:.1f} GB: "
            f"more than {limit / ours:.1f} times as much"
        )
    return f"ours {ours:.2f} GB, Hugging Face's {theirs:.2f} GB: {theirs / ours:.1f} times as much"


def in_process(side: str, length: int, given: argparse.Namespace) -> float | None:
    """Return a side's gigabytes from a fresh process, `None` if it was refused memory."""
    options = ("vocabulary", "layers", "median", "recompute", "precision", "limit_gb")
    command = [sys.executable, __file__, "--side", side, "--lengths", str(length)]
    for name in options:
        command += [f"--{name.replace('_', '-')}", str(getattr(given, name))]
    # every tensor in pages of its own, which go back when it dies
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode == 0:
        return float(json.loads(done.stdout.splitlines()[-1])["bytes"]) / 1e9
    if REFUSED.search(done.stderr):
        return None
    raise SystemExit(done.stderr)


def measured(given: argparse.Namespace) -> int:
    """Train one step and return how many bytes the process grew at most."""
    import transformers  # noqa: F401  (what both processes have before the model)
    from training_pair import SHAPES, SIDES, packed_batch

    shape = SHAPES["40m"].model_copy(
        update={"vocab_size": given.vocabulary, "num_hidden_layers": given.layers}
    )
    batch = packed_batch(given.vocabulary, 1, given.lengths[0], given.median, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _limit(int(given.limit_gb * 1e9))
    side = SIDES[given.side](shape, given.precision)
    _recompute(side, given)
    side.step(batch)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def _limit(growth: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + growth
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _recompute(side: Any, given: argparse.Namespace) -> None:
    if given.side == "huggingface" and given.recompute != "none":
        side.model.gradient_checkpointing_enable({"use_reentrant": False})
    elif given.side == "ours":
        from cwm_train.model.recompute import apply_activation_checkpointing

        apply_activation_checkpointing(side.model, given.recompute)


if __name__ == "__main__":
    main()
