"""What commands with a run directory have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import typer

if TYPE_CHECKING:
    from cwm_core.config import CommandConfig
    from cwm_core.rundir import RunDir

    Config = TypeVar("Config", bound=CommandConfig)
Result = TypeVar("Result")


def work_in_run(
    command: str,
    model: type[Config],
    work: Callable[[Config, RunDir], Result],
    overrides: list[str],
    config_file: Path | None,
) -> tuple[Config, Result | None]:
    """Compose a configuration, and do (or continue) the work in its run directory.

    `command` is the words after `cwm`. The result is None where the work was done before, which is
    said. Raises CwmError for a wrong configuration or directory, and what `work` raises.
    """
    from cwm_core.config import compose
    from cwm_core.rundir import open_run

    config = compose(command, model, overrides, config_file)
    out: Path = cast("Any", config).out  # every configuration of such a command has it
    with open_run(out, command, config) as run:
        if run.is_done:
            typer.echo(f"{out} is complete; nothing to do")
            return config, None
        return config, work(config, run)
