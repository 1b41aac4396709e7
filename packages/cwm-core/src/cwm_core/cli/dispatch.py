"""Turn a declared command into a Typer command and run it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

from cwm_core.cli.main import is_debug
from cwm_core.errors import CwmError, PluginError
from cwm_core.plugins import Command, registry, resolve
from cwm_core.suggestions import unknown_command

os.environ.setdefault("TYPER_USE_RICH", "0")  # one look for all commands, and fast help

import typer
from typer import main as typer_main
from typer._click.exceptions import ClickException


def run_command(name: str, arguments: list[str]) -> int:
    """Run a subcommand and return its exit code; errors of the command are raised."""
    with _warnings_on_stderr():
        command = registry().commands().get(name)
        if command is None:
            raise unknown_command(registry(), name)
        return _run(_typer_command(command), f"cwm {name}", arguments)


@contextlib.contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Send warnings, and nothing below them, to stderr; a run's log.txt takes more."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def complete(arguments: list[str]) -> int:
    """Answer the shell's request for completions, or print or install its script."""
    app = typer.Typer(name="cwm", add_completion=True)
    app.callback()(lambda: None)
    root: Any = typer_main.get_command(app)
    for name, command in registry().commands().items():
        try:
            root.add_command(_typer_command(command), name)
        except CwmError:
            continue  # a broken plugin must not break the shell's completion
    return _run(root, "cwm", arguments)


def _typer_command(command: Command) -> Any:
    try:
        target = resolve(command.target)
    except CwmError:
        raise
    except Exception as error:
        raise PluginError(
            f"'cwm {command.name}' cannot be loaded: {type(error).__name__}: {error}",
            None if is_debug() else "`cwm --debug` shows the traceback",
        ) from error
    app = target if isinstance(target, typer.Typer) else _wrap(command, target)
    app._add_completion = False
    found = typer_main.get_command(app)
    found.name = command.name
    found.help = found.help or command.summary
    return found


def _wrap(command: Command, target: Any) -> typer.Typer:
    if not callable(target):
        kind = type(target).__name__
        raise PluginError(f"'{command.target}' is {kind}, expected a Typer app or a function")
    app = typer.Typer()
    app.command(name=command.name)(target)
    return app


def _run(command: Any, program: str, arguments: list[str]) -> int:
    try:
        result = command.main(args=arguments, prog_name=program, standalone_mode=False)
    except ClickException as error:
        error.show()
        return error.exit_code
    except typer.Abort:
        return 1
    return result if isinstance(result, int) and not isinstance(result, bool) else 0
