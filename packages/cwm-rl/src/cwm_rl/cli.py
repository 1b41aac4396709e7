"""The command `cwm rl`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cwm_core.rundir import RunDir

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
    from cwm_core.errors import CwmError
    from cwm_rl.train_config import RlConfig

    begun: list[Path] = []

    def work(config: RlConfig, run: RunDir) -> Path:
        from cwm_rl.processes.supervisor import train_in

        begun.append(run.path)
        return train_in(config, run)

    try:
        _, model = work_in_run("rl train", RlConfig, work, overrides or [], config)
    except CwmError:
        for path in begun:
            _write_page_if_any(path)
        raise
    if model is not None:
        typer.echo(f"model: {model}")
        _write_page_if_any(model.parent)


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


def _write_page_if_any(path: Path) -> None:
    """Write the page about a run that has ended, unless it ended before it had begun to play."""
    from cwm_core.errors import DataError
    from cwm_rl.report.page import write_page

    with contextlib.suppress(DataError):
        typer.echo(f"report: {write_page(path)}")


def _show(name: str, summary: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("episodes that ended with", "count", f"mean {name}")
    for reason, values in summary.items():
        table.add_row(reason, str(values["count"]), f"{values['mean']:.4f}")
    Console().print(table)
