"""Minutes of training on this machine until a model knows what held-out programs do next.

    uv run python tools/bench/speedrun.py --minutes 30 --out runs/speedrun [key=value ...]

Runs the quickstart's recipe with another budget of training; further words are overrides of
`cwm train`. While it trains, the model is measured on held-out programs of the generator's middle
difficulty that fit into its context; measuring counts as training time. Printed are minutes,
tokens and the share of next frames of which every token is right; the minute from which on that
share stays above the target; and what `cwm eval` finds on all held-out programs in the end. The
same command continues a run that was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cwm_core.cli.recipe import Recipe, Stage, load_recipe
from cwm_core.cli.stages import run_recipe

STAGES = ("trace", "trace-heldout", "tokenizer", "train", "eval")
STEPS_BETWEEN = 500
DOCUMENTS = 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of training")
    parser.add_argument("--target", type=float, default=0.9, help="share of next frames")
    parser.add_argument("--out", type=Path, default=Path("runs/speedrun"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of cwm train")
    given = parser.parse_args()
    run_recipe(_recipe(given))
    points = list(_points(given.out / "train" / "metrics.jsonl"))
    print("| minutes | million tokens | next frame |\n| --- | --- | --- |")
    for minutes, tokens, share in points:
        print(f"| {minutes:.1f} | {tokens / 1e6:.1f} | {100 * share:.1f} % |")
    reached = _reached(points, given.target)
    print(
        f"\n{given.target:.0%}: " + (f"after {reached:.1f} minutes" if reached else "not reached")
    )
    results = json.loads((given.out / "eval" / "results.json").read_text())
    found: dict[str, Any] = results["metrics"]["next_frame"]
    print(
        f"cwm eval, all held-out programs: {100 * found['value']:.1f} % "
        f"({100 * found['low']:.1f} to {100 * found['high']:.1f}), n = {found['count']:,}"
    )


def _recipe(given: argparse.Namespace) -> Recipe:
    """The quickstart's stages as far as needed; the training also measures held-out programs."""
    recipe = load_recipe(
        "quickstart",
        [
            f"out={given.out}",
            f"seed={given.seed}",
            f"minutes={given.minutes}",
            f"train_minutes={given.minutes}",
            "heldout=156",  # those that the quickstart measures
            "tasks=325",
            "generated=10",
        ],
    )
    measured = (
        "validation.heldout.name=traces",
        f"validation.heldout.path={given.out / 'heldout'}",
        "validation.heldout.split=test",
        f"eval_every={STEPS_BETWEEN}",
        f"eval_documents={DOCUMENTS}",
        *given.overrides,
    )
    stages = [stage for stage in recipe.stages if stage.name in STAGES]
    return dataclasses.replace(recipe, stages=tuple(_measured(s, measured) for s in stages))


def _measured(stage: Stage, overrides: tuple[str, ...]) -> Stage:
    if stage.name != "train":
        return stage
    changed = {word.partition("=")[0] for word in overrides}
    kept = [word for word in stage.words if word.partition("=")[0] not in changed]
    return dataclasses.replace(stage, words=(*kept, *overrides))


def _points(metrics: Path) -> Iterator[tuple[float, float, float]]:
    """Yield minutes, tokens and share of right frames of each measurement."""
    minutes = tokens = 0.0
    for line in metrics.read_text().splitlines():
        entry = json.loads(line)
        minutes = entry.get("elapsed_s", 60 * minutes) / 60
        tokens = entry.get("tokens", tokens)
        if "validation/frame_accuracy" in entry:
            yield minutes, tokens, entry["validation/frame_accuracy"]


def _reached(points: list[tuple[float, float, float]], target: float) -> float | None:
    """Return the minutes from which on the share is at least the target."""
    reached = None
    for minutes, _, share in points:
        if share < target:
            reached = None
        elif reached is None:
            reached = minutes
    return reached


if __name__ == "__main__":
    main()
