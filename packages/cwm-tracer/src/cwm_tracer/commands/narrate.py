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
    from cwm_core.config import compose
    from cwm_core.rundir import open_run
    from cwm_tracer.narrate.config import NarrateConfig
    from cwm_tracer.narrate.pipeline import narrate_traces

    settings = compose("trace narrate", NarrateConfig, overrides or [], config)
    with open_run(settings.out, "trace narrate", settings) as run:
        if run.is_done:
            typer.echo(f"{settings.out} is complete; nothing to do")
            return 0
        summary = narrate_traces(settings, run)
    typer.echo(f"{summary['narrations']} narrations of {summary['traces']} traces")
    for rule, count in summary["dropped"].items():
        typer.echo(f"  left out: {count} {rule}")
    typer.echo(f"in {settings.out / 'narrations'}")
    return 0
