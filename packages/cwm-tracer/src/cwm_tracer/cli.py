"""The command `cwm trace`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def trace(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE.py:function | module:function | key=value ...",
            help="One function to run, or a configuration for writing trace shards.",
        ),
    ] = None,
    input: Annotated[
        str, typer.Option("--input", help='Argument list as Python source: "[1, 2], k=3".')
    ] = "",
    as_wire: Annotated[bool, typer.Option("--wire", help="Show the wire format.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Show JSON, one frame a line.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file with a configuration for shards.")
    ] = None,
) -> int:
    """Record executions.

    `cwm trace FILE.py:function --input "1, 2"` runs one function and shows its trace.
    `cwm trace programs=generated programs.count=1000 out=DIR` writes trace shards; the same
    command continues what was stopped.
    """
    words = arguments or []
    from cwm_tracer.target import is_target

    if words and is_target(words[0]):
        return _one(words[0], words[1:], input, as_wire, as_json)
    return _many(words, config)


def _one(target: str, overrides: list[str], input: str, as_wire: bool, as_json: bool) -> int:
    """Record and show a single execution; exit code 1 if it did not reach its end."""
    from cwm_core.config import compose
    from cwm_tracer import show
    from cwm_tracer.api import record_source
    from cwm_tracer.capture.one import OneConfig
    from cwm_tracer.target import load_target

    config = compose("trace", OneConfig, overrides)
    source, entry, around = load_target(target)
    with config.tracer.build(config.limits) as tracer:
        record = record_source(tracer, source, entry, input, around)
    if as_json:
        for line in show.json_lines(record):
            print(line)
    elif as_wire:
        print(show.wire(record))
    else:
        show.print_table(record)
    complete = record.trace.complete
    if not complete and (as_json or as_wire):
        typer.echo(show.summary(record), err=True)
    return 0 if complete else 1


def _many(overrides: list[str], config_file: Path | None) -> int:
    """Write trace shards into a run directory."""
    from cwm_core.config import compose
    from cwm_core.rundir import open_run
    from cwm_tracer.collect.config import TraceConfig
    from cwm_tracer.collect.pipeline import collect

    config = compose("trace", TraceConfig, overrides, config_file)
    with open_run(config.out, "trace", config) as run:
        if run.is_done:
            typer.echo(f"{config.out} is complete; nothing to do")
            return 0
        summary = collect(config, run)
    by_side = ", ".join(f"{count} {side}" for side, count in summary["traces_by_split"].items())
    typer.echo(f"{summary['traces']} traces of {summary['programs']} programs ({by_side})")
    for rule, count in summary["dropped"].items():
        typer.echo(f"  left out: {count} {rule}")
    typer.echo(f"in {config.out / 'traces'}")
    return 0
