"""What cwm-forager adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command


@hookimpl
def cwm_commands() -> list[Command]:
    """Return the commands."""
    return [Command("forage", "cwm_forager.cli:app", "Collect and prepare agent trajectories.")]
