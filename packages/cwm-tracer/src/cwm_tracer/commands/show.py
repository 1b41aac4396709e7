"""`cwm trace show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    what: Annotated[
        str, typer.Argument(metavar="SHARDS", help="Trace shards, or a run directory.")
    ],
    trace_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Trace id, or its beginning.")
    ] = None,
    as_wire: Annotated[bool, typer.Option("--wire", help="Show the wire format.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Show JSON, one frame a line.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with time travel to this file.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="Most traces to list.", min=1)] = 20,
) -> int:
    """Show a recorded trace; without an ID, list what the shards hold.

    Fresh executions: `cwm trace FILE.py:function` and `cwm trace script FILE.py` have the same
    options.
    """
    from cwm_tracer.show import View, find_record, print_list

    if trace_id is None:
        print_list(Path(what), limit)
        return 0
    View(as_wire, as_json, html).show(find_record(Path(what), trace_id))
    return 0
