"""The command `cwm trace` and its subcommands."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from cwm_tracer.commands.contest import contest
from cwm_tracer.commands.functions import functions
from cwm_tracer.commands.narrate import narrate
from cwm_tracer.commands.record import record
from cwm_tracer.commands.script import script
from cwm_tracer.commands.show import show
from cwm_tracer.commands.tests import tests

_DEFAULT = "record"


class _DefaultCommand(TyperGroup):
    """Takes ``cwm trace FILE.py:f`` and ``cwm trace key=value`` for ``cwm trace record ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_DefaultCommand, no_args_is_help=True)


@app.callback()
def trace() -> None:
    """Record executions: one, or shards of many.

    `cwm trace FILE.py:function --input "1, 2"` runs one function and shows its trace, and
    `cwm trace programs=generated out=DIR` writes trace shards: both are short for `record`.
    """


for command in (record, functions, contest, tests, narrate, show):
    app.command(command.__name__)(command)
app.command("script", context_settings={"allow_interspersed_args": False})(script)
