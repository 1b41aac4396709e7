"""`cwm trace narrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def narrate(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value ...", help="Configuration, e.g. traces=DIR out=DIR."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> int:
    """Tell traces in natural language, and write shards of the texts.

    The same command continues where it was stopped.
    """
    from cwm_core.cli.work import work_in_run
    from cwm_tracer.narrate.config import NarrateConfig
    from cwm_tracer.narrate.pipeline import narrate_traces

    settings, summary = work_in_run(
        "trace narrate", NarrateConfig, narrate_traces, overrides or [], config
    )
    if summary is None:
        return 0
    typer.echo(f"{summary['narrations']} narrations of {summary['traces']} traces")
    for rule, count in summary["dropped"].items():
        typer.echo(f"  left out: {count} {rule}")
    typer.echo(f"in {settings.out / 'narrations'}")
    return 0
