"""Measure a small model that is made anew, beside perfect and empty answers; write the table.

uv run tools/results.py [--out docs/results.md]

Everything is seeded, in fp32 and on one thread: about half a minute on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.cli.main import run

ROOT = Path(__file__).resolve().parent.parent
STAGES = (
    "trace programs=generated programs.count=60 programs.difficulty=1-3 programs.seed=1 "
    "split.validation=0.05 split.test=0 executor.processes=1 out=traces",
    "trace programs=generated programs.count=16 programs.difficulty=3 programs.seed=1000003 "
    "split.side=test exclude=[traces] executor.processes=1 out=heldout",
    "tokenizer train data=traces vocab_size=512 out=tokenizer",
    "train model=cwm_tiny tokenizer=tokenizer sources.mine=traces sources.mine.path=traces seed=1 "
    "sequence_length=512 batch_tokens=512 optimizer=adamw optimizer.lr=0.004 schedule=linear "
    "precision=fp32 threads=1 max_steps=60 out=train",
)
MEASURE = "eval benchmark.data=heldout benchmark.max_new_tokens=400 limit=24 concurrency=1"
ENGINES = {
    "gold": "engine=gold engine.data=heldout engine.tokenizer=tokenizer",
    "model": "engine=local engine.checkpoint=train/model engine.threads=1 engine.dtype=float32",
    "empty": "engine=empty engine.tokenizer=tokenizer",
}
PAGE = """\
# Results of a small model

`uv run tools/results.py` makes everything anew, from the traced programs to this page, and
`tests/test_results.py` does so in CI and compares. That shows that the pipeline measures, and that
no figure moved unnoticed. It does not show what a model can do: this one, `cwm_tiny`, saw 60 steps
of 512 tokens of traces of 60 generated programs, in fp32, with fixed seeds.

- `gold` knows the traces by heart and must have 100 %; `empty` answers nothing and must have 0 %.
- Measured: {tasks} executions of {programs} programs that training never saw; Python {python}.
- In brackets: the 95 % confidence interval over programs, which are few; then the number of units.
- `gold`, `empty` and numbers of units must be the same everywhere. Figures of the model are the
  same on every run of a machine. Processors round differently, which training amplifies: CI accepts
  5 points, and 0.15 nats.

| metric | {names} |
|---|{rules}|
{rows}
"""


def measure() -> dict[str, Any]:
    """Trace, train and evaluate in the working directory; return the results by engine."""
    evaluations = [f"{MEASURE} {engine} out={name}" for name, engine in ENGINES.items()]
    for line in (*STAGES, *evaluations):
        if code := run(shlex.split(line)):
            raise SystemExit(code)
    return {name: json.loads(Path(name, "results.json").read_text()) for name in ENGINES}


def page(results: Mapping[str, Any]) -> str:
    """Return the results as a page of Markdown."""
    counts, metrics = results["model"]["counts"], results["model"]["metrics"]
    rows = [
        [info["title"], *(_cell(found["metrics"][name]) for found in results.values())]
        for name, info in metrics.items()
    ]
    return PAGE.format(
        tasks=counts["tasks"],
        programs=counts["programs"],
        python=".".join(platform.python_version_tuple()[:2]),
        names=" | ".join(results),
        rules="|".join("---" for _ in results),
        rows="\n".join(f"| {' | '.join(row)} |" for row in rows),
    )


def _cell(metric: Mapping[str, Any]) -> str:
    scale, unit = (100, " %") if metric["unit"] == "share" else (1, f" {metric['unit']}")
    digits = 1 if metric["unit"] == "share" else 3
    value, low, high = (
        "–" if metric[key] is None else f"{scale * metric[key]:.{digits}f}"
        for key in ("value", "low", "high")
    )
    return f"**{value}{unit}** ({low} to {high}), {metric['count']:,}"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results.md")
    out = parser.parse_args().out.resolve()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        text = page(measure())
    atomic_write(out, text)
    print(out)


if __name__ == "__main__":
    main()
