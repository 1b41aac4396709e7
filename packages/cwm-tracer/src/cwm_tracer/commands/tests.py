"""`cwm trace tests`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tests(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="key=value ...", help="Configuration; out=DIR is required.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> int:
    """Run a repository's pytest suite in a sandbox, and write shards of function traces."""
    from cwm_tracer.collect.tests.config import TestsConfig
    from cwm_tracer.collect.tests.pipeline import collect_tests
    from cwm_tracer.commands.shards import write_shards

    return write_shards("trace tests", TestsConfig, collect_tests, overrides or [], config)
