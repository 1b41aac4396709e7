"""`cwm trace script`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def script(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE.py [key=value ...] [-- ARGUMENTS ...]",
            help="A script, options of the recording, and what the script finds in sys.argv.",
        ),
    ],
    stdin: Annotated[
        Path | None, typer.Option("--stdin", help="File that the script reads as standard input.")
    ] = None,
    as_wire: Annotated[bool, typer.Option("--wire", help="Show the wire format.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Show JSON, one frame a line.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with time travel to this file.")
    ] = None,
) -> int:
    """Run a whole script and show its trace: module level, sys.argv and standard input."""
    from cwm_tracer.collect.script import run_script
    from cwm_tracer.show import View

    return View(as_wire, as_json, html).show(run_script(words, stdin))
