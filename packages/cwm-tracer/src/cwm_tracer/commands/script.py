"""`cwm trace script`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def script(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[key=value ...] FILE.py [ARGUMENT ...]",
            help="How to record, the script, and what it finds in sys.argv.",
        ),
    ],
    stdin: Annotated[
        Path | None,
        typer.Option("--stdin", help="What the script reads as standard input; -: what this does."),
    ] = None,
    as_wire: Annotated[bool, typer.Option("--wire", help="Show the wire format.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Show JSON, one frame a line.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with time travel to this file.")
    ] = None,
) -> int:
    """Run a whole script and show its trace; options come before FILE.py.

    Recorded is what `python FILE.py ARGUMENT ...` would run, from the module level on, in an empty
    working directory.
    """
    from cwm_tracer.collect.script import run_script
    from cwm_tracer.show import View

    return View(as_wire, as_json, html).show(run_script(words, stdin))
