"""The command `cwm rl`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def rl() -> None:
    """Reinforcement learning."""


@app.command()
def score(
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML with the same keys.")
    ] = None,
) -> None:
    """Score stored trajectories: data=DIR reward=NAME out=DIR.

    The same command continues what was stopped.
    """
    from cwm_core.cli.work import work_in_run
    from cwm_rl.config import ScoreConfig
    from cwm_rl.score import score as run_score

    settings, summary = work_in_run("rl score", ScoreConfig, run_score, overrides or [], config)
    if summary is not None:
        _show(settings.reward_key, summary)
        typer.echo(f"in {settings.out / 'trajectories'}")


@app.command()
def demonstrate(
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML with the same keys.")
    ] = None,
) -> None:
    """Play tasks by the actions that they carry: environment=NAME tokenizer=DIR out=DIR.

    The trajectories are what a model can be fine-tuned on before it learns by itself.
    """
    from cwm_core.cli.work import work_in_run
    from cwm_rl.config import DemonstrateConfig
    from cwm_rl.demonstrate import demonstrate as run_demonstrate

    settings, found = work_in_run(
        "rl demonstrate", DemonstrateConfig, run_demonstrate, overrides or [], config
    )
    if found is not None:
        typer.echo(f"{found['count']:.0f} trajectories in {settings.out / 'trajectories'}")


@app.command()
def train(
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML with the same keys.")
    ] = None,
) -> None:
    """Learn from episodes: init_from=RUN environments.NAME=ENVIRONMENT max_steps=N out=DIR.

    Engines, orchestrator and trainer are processes of their own. The same command continues what
    was stopped or killed.
    """
    from cwm_core.cli.work import work_in_run
    from cwm_rl.processes.supervisor import train_in
    from cwm_rl.train_config import RlConfig

    _, model = work_in_run("rl train", RlConfig, train_in, overrides or [], config)
    if model is not None:
        from cwm_rl.report.page import write_page

        typer.echo(f"model: {model}\nreport: {write_page(model.parent)}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Run directory of cwm rl train.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; report.html in the run by default.")
    ] = None,
) -> None:
    """Write a page about a run, even while it goes on; a finished run has one already."""
    from cwm_rl.report.page import write_page

    typer.echo(f"page: {write_page(run, out)}")


def _show(name: str, summary: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("episodes that ended with", "count", f"mean {name}")
    for reason, values in summary.items():
        table.add_row(reason, str(values["count"]), f"{values['mean']:.4f}")
    Console().print(table)
