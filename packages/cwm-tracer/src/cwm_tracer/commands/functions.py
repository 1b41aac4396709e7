"""`cwm trace functions`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def functions(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value ...", help="Configuration; out=DIR is required."),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> int:
    """Find functions, make inputs for them, and write trace shards."""
    from cwm_tracer.collect.functions import collect_functions
    from cwm_tracer.collect.functions_config import FunctionsConfig
    from cwm_tracer.commands.shards import write_shards

    return write_shards(
        "trace functions", FunctionsConfig, collect_functions, overrides or [], config
    )
