"""The command `cwm forage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def forage() -> None:
    """Collect and prepare agent trajectories."""


@app.command()
def dedup(
    data: Annotated[str, typer.Argument(metavar="IN", help="Directory of trajectory shards.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Run directory to write.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML with the same keys.")
    ] = None,
) -> None:
    """Drop near-duplicate trajectories of the same repository.

    The same command continues what was stopped.
    """
    from cwm_core.cli.work import work_in_run
    from cwm_forager.config import DedupConfig
    from cwm_forager.dedup_run import deduplicate

    given = [f"data={data}", f"out={out}", *(overrides or [])]
    settings, report = work_in_run("forage dedup", DedupConfig, deduplicate, given, config)
    if report is not None:
        _show(report.as_json(), settings.out)


def _show(report: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("repository", "read", "kept", "dropped")
    for name, counts in report["groups"].items():
        table.add_row(name or "(none)", *(str(counts[key]) for key in ("read", "kept", "dropped")))
    table.add_section()
    table.add_row("all", *(str(report[key]) for key in ("read", "kept", "dropped")))
    Console().print(table)
    typer.echo(f"in {out / 'trajectories'}")
