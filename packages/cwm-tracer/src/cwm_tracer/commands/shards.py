"""What the subcommands that write trace shards have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from cwm_core.cli.work import work_in_run

if TYPE_CHECKING:
    from cwm_core.rundir import RunDir
    from cwm_tracer.collect.config import ShardsConfig

    Config = TypeVar("Config", bound=ShardsConfig)


def write_shards(
    command: str,
    model: type[Config],
    collect: Callable[[Config, RunDir], dict[str, Any]],
    overrides: list[str],
    config_file: Path | None,
) -> int:
    """Compose a configuration, collect into its run directory, and tell the summary.

    `command` is the words after `cwm`. Raises CwmError for a wrong configuration, and what
    `collect` raises.
    """
    config, summary = work_in_run(command, model, collect, overrides, config_file)
    if summary is None:
        return 0
    by_side = ", ".join(f"{count} {side}" for side, count in summary["traces_by_split"].items())
    typer.echo(f"{summary['traces']} traces of {summary['programs']} programs ({by_side})")
    for rule, count in summary["dropped"].items():
        typer.echo(f"  left out: {count} {rule}")
    typer.echo(f"in {config.out / 'traces'}")
    return 0
