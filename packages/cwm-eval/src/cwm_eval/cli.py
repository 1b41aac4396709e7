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
