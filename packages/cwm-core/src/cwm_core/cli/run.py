"""``cwm run``: execute a recipe."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    recipe: Annotated[str | None, typer.Argument(help="A packaged recipe or a YAML file.")] = None,
    params: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands only.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the packaged recipes.")] = False,
) -> None:
    """Run the stages of a recipe; a second start continues where the first one ended."""
    from cwm_core.cli.recipe import load_recipe, recipe_names
    from cwm_core.cli.stages import command_line, run_recipe
    from cwm_core.errors import ConfigError

    if show_list:
        for name, summary in recipe_names().items():
            print(f"{name}  {summary}")
        return
    if recipe is None:
        raise ConfigError("name a recipe", "`cwm run --list` shows the packaged ones")
    resolved = load_recipe(recipe, params or [])
    if dry_run:
        for stage in resolved.stages:
            print(command_line(stage))
        return
    run_recipe(resolved)
