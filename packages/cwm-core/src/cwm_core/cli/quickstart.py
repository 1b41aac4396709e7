"""``cwm quickstart``: the packaged recipe from programs to a measured model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    minutes: Annotated[float, typer.Option(help="Budget of the whole run, about.")] = 13.0,
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("runs/quickstart"),
    cruxeval: Annotated[
        Path | None, typer.Option(help="cruxeval.jsonl, measured as out-of-distribution programs.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of programs, model and sampling.")] = 0,
) -> None:
    """Trace programs, train a small code world model on them, and measure it on unseen ones.

    A second start continues an interrupted one.
    """
    from cwm_core.cli.recipe import load_recipe
    from cwm_core.cli.stages import run_recipe
    from cwm_core.config.overrides import override_text
    from cwm_core.errors import ConfigError

    if minutes <= 0:
        raise ConfigError(f"--minutes is {minutes}", "give a positive number")
    if cruxeval is not None and not cruxeval.is_file():
        raise ConfigError(f"no file '{cruxeval}'", "--cruxeval takes a cruxeval.jsonl")
    params = {
        "minutes": float(minutes),
        "out": str(out),
        "cruxeval": None if cruxeval is None else str(cruxeval.resolve()),
        "seed": seed,
    }
    recipe = load_recipe("quickstart", [override_text(key, params[key]) for key in params])
    run_recipe(recipe)
    _show_results(out)


def _show_results(out: Path) -> None:
    """Print three worked examples of the evaluation and where the report is."""
    examples = out / "eval" / "examples.txt"
    if examples.is_file():
        print(examples.read_text(encoding="utf-8", errors="replace").rstrip() + "\n")
    print(f"Report: {(out / 'report.html').resolve()}")
