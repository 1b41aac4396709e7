"""`cwm eval` and `cwm eval report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_MEASURE = "run"


class _DefaultCommand(TyperGroup):
    """Takes ``cwm eval key=value ...`` for ``cwm eval run key=value ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [_MEASURE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_DefaultCommand, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Measure an engine on a benchmark (`cwm eval key=value ...`), or report on finished runs."""


@app.command(_MEASURE)
def measure(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, e.g. benchmark.data=DIR engine=local")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> None:
    """Measure an engine on a benchmark; the same command again continues a stopped run."""
    from cwm_core.config import compose
    from cwm_eval.config import EvalConfig
    from cwm_eval.evaluate import evaluate

    evaluate(compose("eval", EvalConfig, overrides or [], config))


@app.command("grade")
def grade_answers(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key=value, e.g. benchmark=humaneval answers=samples.jsonl"),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> None:
    """Grade answers that were written elsewhere; the same command again continues."""
    from cwm_core.config import compose
    from cwm_eval.config import GradeConfig
    from cwm_eval.evaluate import grade

    grade(compose("eval grade", GradeConfig, overrides or [], config))


@app.command("best")
def choose_best(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="key=value, e.g. run=RUN engine=local generate=8 out=CHOSEN"),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> None:
    """Choose among a run's answers by tests, votes and predictions; again continues."""
    from cwm_core.config import compose
    from cwm_eval.config import BestConfig
    from cwm_eval.scaling.command import best

    best(compose("eval best", BestConfig, overrides or [], config))


@app.command("compare")
def compare_runs(
    first: Annotated[Path, typer.Argument(help="Run directory to compare with.")],
    second: Annotated[Path, typer.Argument(help="Run directory to compare.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs on the problems that both have, with a p-value."""
    from cwm_eval.report.compared import compared_text, compared_values
    from cwm_eval.results import load_run

    runs = load_run(first), load_run(second)
    if as_json:
        import json

        typer.echo(json.dumps(compared_values(*runs), indent=2))
    else:
        typer.echo(compared_text(*runs), nl=False)


@app.command("predictions")
def predictions(
    run: Annotated[Path, typer.Argument(help="Run directory of benchmark=swebench.")],
    out: Annotated[Path, typer.Option("--out", help="File: .jsonl, or .json by instance.")],
    model: Annotated[str, typer.Option("--model", help="model_name_or_path.")] = "cwm",
    sample: Annotated[int, typer.Option("--sample", help="Which of several per instance.")] = 0,
) -> None:
    """Write the patches of a run as predictions for the official harness of SWE-bench."""
    from cwm_eval.benchmarks.predictions import patches, write_predictions
    from cwm_eval.results import load_run

    count = write_predictions(patches(load_run(run)), model, out, sample)
    typer.echo(f"{count} predictions: {out}")


@app.command("report")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories; the first leads.")],
    out: Annotated[Path, typer.Option("--out", help="A file: .html, .md or .json.")],
    train: Annotated[
        Path | None, typer.Option("--train", help="Run directory of the training.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Headline of the report.")] = None,
) -> None:
    """Write one report of several evaluation runs."""
    from cwm_eval.report.page import write_report
    from cwm_eval.results import load_run

    write_report([load_run(path) for path in runs], out, train=train, title=title)
    typer.echo(f"Report: {out}")
