"""Kill a training at random moments, again and again, until it ends; compare it with a whole one.

    python tools/bench/kill_resume.py --kills 20 --out runs/kill-resume

Trains a small model twice on traces of generated programs, with the same command: once without a
break and once killed (SIGKILL) at random moments, each time started again. Prints how many kills
there were, how many steps were lost to them, whether every logged loss, gradient norm and
validation value is the same to the last bit, and whether the final weights are.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cwm_core.rundir import read_metrics

CWM = [sys.executable, "-m", "cwm_core"]
SAME = ("loss", "lr", "grad_norm", "tokens", "validation/loss", "validation/frame_accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("runs/kill-resume"))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    prepare(given.out)
    whole, torn = given.out / "whole", given.out / "torn"
    subprocess.run(training(given.out, whole, given.steps), check=True)
    seconds = max(e.get("elapsed_s", 0.0) for e in read_metrics(whole / "metrics.jsonl"))
    lost = kill_repeatedly(training(given.out, torn, given.steps), torn, given, seconds)
    same = values(whole) == values(torn)
    weights = digest(whole) == digest(torn)
    print(f"{given.kills} kills, {lost} steps done again")
    print(f"{len(values(whole))} lines of metrics bit-identical: {same}; final weights: {weights}")
    sys.exit(0 if same and weights else 1)


def prepare(out: Path) -> None:
    """Trace programs and train a tokenizer."""
    traces = ["trace", "programs.count=150", "programs.difficulty=1", "split.validation=0.1"]
    subprocess.run([*CWM, *traces, "split.test=0", f"out={out / 'traces'}"], check=True)
    tokenizer = ["tokenizer", "train", f"data={out / 'traces'}", "vocab_size=400"]
    subprocess.run([*CWM, *tokenizer, f"out={out / 'tokenizer'}"], check=True)


def training(data: Path, out: Path, steps: int) -> list[str]:
    """The command line of a run whose intervals do not divide one another."""
    return [
        *CWM, "train", f"out={out}", f"tokenizer={data / 'tokenizer'}", f"max_steps={steps}",
        "sources.generated.name=traces", f"sources.generated.path={data / 'traces'}",
        "model.num_hidden_layers=2", "model.hidden_size=64", "model.intermediate_size=128",
        "model.num_attention_heads=4", "model.num_key_value_heads=2", "model.head_dim=16",
        "sequence_length=512", "batch_tokens=1024", "ema=0.95", "log_every=3", "eval_every=50",
        "eval_documents=10", "checkpoint_every_steps=7", "threads=1", f"cache={data / 'tokens'}",
    ]  # fmt: skip


def kill_repeatedly(
    command: list[str], out: Path, given: argparse.Namespace, seconds: float
) -> int:
    """Start, kill at a random moment after the first new step, and so on; then let it end.

    `seconds` is how long the whole run takes. Returns how many steps were computed again.
    """
    draw = random.Random(given.seed)
    lost = 0
    for number in range(1, given.kills + 1):
        before = stamp(out)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and stamp(out) == before:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 1.5 * seconds / given.kills))
        if process.poll() is not None:
            sys.exit(f"the run ended (exit code {process.returncode}) before kill {number}")
        process.kill()
        process.wait()
        checkpoints = sorted((out / "checkpoints").glob("step-*"))
        kept = int(checkpoints[-1].name.removeprefix("step-")) if checkpoints else 0
        reached = read_metrics(out / "metrics.jsonl")[-1]["step"]
        lost += reached - kept if reached > kept else 0
        print(f"kill {number}: at step {reached} or soon after, checkpoint {kept}", flush=True)
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return lost


def stamp(out: Path) -> int:
    """Changes when the metrics do: also when a continued run takes lines back."""
    path = out / "metrics.jsonl"
    return path.stat().st_mtime_ns if path.exists() else 0


def values(out: Path) -> list[dict[str, Any]]:
    """What must not depend on kills, per line of metrics."""
    entries = read_metrics(out / "metrics.jsonl")
    return [{key: entry[key] for key in ("step", *SAME) if key in entry} for entry in entries]


def digest(out: Path) -> str:
    """A checksum of the final weights."""
    return hashlib.sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
