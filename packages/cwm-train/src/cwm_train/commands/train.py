"""`cwm train`, `cwm train compare` and `cwm train report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from cwm_train.loop.config import TrainConfig

_TRAIN = "run"


class _DefaultCommand(TyperGroup):
    """Takes ``cwm train key=value ...`` for ``cwm train run key=value ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [_TRAIN, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_DefaultCommand, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Train a model (`cwm train key=value ...`), or look at runs."""


@app.command(_TRAIN)
def train(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value ..., such as optimizer.lr=0.01")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file")] = None,
) -> None:
    """Train a model: cwm train sources.traces.name=traces sources.traces.path=DIR tokenizer=DIR
    max_minutes=10 out=RUN."""
    from cwm_core.config import compose
    from cwm_train.loop.config import TrainConfig

    run_training(compose("train", TrainConfig, overrides or [], config))


@app.command("compare")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories of cwm train.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write a page with curves, .html.")
    ] = None,
) -> None:
    """Show runs side by side: figures, and where their configurations differ."""
    from cwm_train.report.runs import read_runs
    from cwm_train.report.table import comparison

    found = read_runs(runs)
    typer.echo(comparison(found))
    if out is not None:
        from cwm_train.report.page import write_page

        write_page(found, out)
        typer.echo(f"page: {out}")


@app.command("report")
def report(
    run: Annotated[Path, typer.Argument(help="Run directory of cwm train.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; report.html in the run by default.")
    ] = None,
) -> None:
    """Write a page about one run; a finished run has one already."""
    from cwm_train.report.page import write_page
    from cwm_train.report.runs import read_run

    page = out or run / "report.html"
    write_page([read_run(run)], page)
    typer.echo(f"page: {page}")


def run_training(config: TrainConfig) -> Path:
    """Train as configured (or continue); return the directory of the final model."""
    from cwm_train.loop.processes import FollowedRun, open_shared_run

    with open_shared_run(config) as run:
        if run.is_done:
            run.log(f"{config.out} is finished; the model is in {config.out / 'model'}")
            return config.out / "model"
        from cwm_train.loop.run import train_in

        model = train_in(run, config)
    if not isinstance(run, FollowedRun):
        from cwm_core.rundir import read_metrics
        from cwm_train.report.page import write_page
        from cwm_train.report.runs import read_run

        if not any("loss" in entry for entry in read_metrics(config.out / "metrics.jsonl")):
            return model  # fewer steps than `log_every`: nothing to draw
        write_page([read_run(config.out)], config.out / "report.html")
    return model
