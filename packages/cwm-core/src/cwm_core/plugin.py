"""What cwm-core adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command


@hookimpl
def cwm_commands() -> list[Command]:
    """Return the commands of the shell itself."""
    return [
        Command("plugins", "cwm_core.cli.plugins:plugins", "List plugins, components, problems."),
    ]
