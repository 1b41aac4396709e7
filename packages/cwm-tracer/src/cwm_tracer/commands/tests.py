"""`cwm trace tests`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tests(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value ...", help="repository=DIR|ARCHIVE|URL out=DIR ..."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> int:
    """Run a repository's pytest suite in a sandbox, and write shards of function traces.

    Each test file runs twice, untraced and traced; the exit code is 1 if outcomes differ. The same
    command continues where it was stopped.
    """
    from cwm_tracer.collect.repository.command import trace_tests

    return trace_tests(overrides or [], config)
