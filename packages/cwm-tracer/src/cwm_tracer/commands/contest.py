"""`cwm trace contest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def contest(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value ...", help="Configuration, e.g. data=FILE out=DIR."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> int:
    """Run contest solutions on their problems' tests, and write shards of labelled traces.

    The same command continues where it was stopped.
    """
    from cwm_tracer.collect.contest import collect_contest
    from cwm_tracer.collect.contest_config import ContestConfig
    from cwm_tracer.commands.shards import write_shards

    return write_shards("trace contest", ContestConfig, collect_contest, overrides or [], config)
