"""`cwm trace record`, which is what `cwm trace` does when it is given no other subcommand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cwm_tracer.show import View


def record(
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
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with time travel to this file.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file with a configuration for shards.")
    ] = None,
) -> int:
    """Run one function and show its trace, or write shards of the traces of many programs.

    The same command continues writing shards where it was stopped.
    """
    words = arguments or []
    from cwm_tracer.target import is_target

    if words and is_target(words[0]):
        from cwm_tracer.show import View

        return _one(words[0], words[1:], input, View(as_wire, as_json, html))
    from cwm_tracer.collect.config import TraceConfig
    from cwm_tracer.collect.pipeline import collect
    from cwm_tracer.commands.shards import write_shards

    return write_shards("trace", TraceConfig, collect, words, config)


def _one(target: str, overrides: list[str], input: str, view: View) -> int:
    """Record and show a single execution; exit code 1 if it did not reach its end."""
    from cwm_core.config import compose
    from cwm_tracer.api import record_source
    from cwm_tracer.capture.one import OneConfig
    from cwm_tracer.target import load_target

    config = compose("trace", OneConfig, overrides)
    source, entry, around = load_target(target)
    with config.tracer.build(config.limits) as tracer:
        found = record_source(tracer, source, entry, input, around)
    return view.show(found)
