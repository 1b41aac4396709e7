"""The root of `cwm`: global options, help, errors and signals.

The first word is parsed by hand: importing Typer alone would cost most of what help may cost,
and resolving one subcommand must not import the others. Subcommands are Typer's.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from cwm_core.errors import CwmError

USAGE_ERROR, FAILURE, INTERRUPTED, TERMINATED = 2, 1, 130, 143
_OPTIONS = {
    "-h, --help": "Show this message and exit.",
    "--version": "Show the versions of the installed packages and exit.",
    "--debug": "Show tracebacks (also: CWM_DEBUG=1).",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it.",
}
_signals: list[int] = []


def main() -> NoReturn:
    """Entry point of the console script."""
    _catch_sigterm()
    os.environ["PYTHONSAFEPATH"] = "1"  # a random.py in the current folder must not break workers
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; never raises an Exception."""
    try:
        return _dispatch(arguments)
    except CwmError as error:
        _trace(error)
        _complain(f"Error: {error}")
        return USAGE_ERROR
    except KeyboardInterrupt as error:
        _trace(error)
        return _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception as error:
        _trace(error)
        _complain(f"Unexpected error: {type(error).__name__}: {error}")
        if not is_debug():
            _complain("  hint: `cwm --debug ...` shows the traceback")
        return FAILURE


def is_debug() -> bool:
    """Whether tracebacks are wanted; inherited by the commands that a recipe starts."""
    return os.environ.get("CWM_DEBUG", "") not in ("", "0")


def received_sigterm() -> bool:
    """Whether this process was asked to end by SIGTERM rather than by Ctrl-C."""
    return signal.SIGTERM in _signals


def _dispatch(arguments: list[str]) -> int:
    if "_CWM_COMPLETE" in os.environ:
        return _completion(arguments)
    while arguments and arguments[0] == "--debug":
        os.environ["CWM_DEBUG"] = "1"
        arguments = arguments[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        return _help()
    if arguments[0] == "--version":
        return _version()
    if arguments[0] in ("--install-completion", "--show-completion"):
        return _completion(arguments)
    if arguments[0].startswith("-"):
        return _unknown_option(arguments[0])
    from cwm_core.cli.dispatch import run_command

    code = run_command(arguments[0], arguments[1:])
    return _interrupted() if code == INTERRUPTED else code


def _help() -> int:
    from cwm_core.plugins import registry

    print("Usage: cwm [OPTIONS] COMMAND [ARGS]...\n")
    print("  An open code-world-model stack: trace programs, train on the traces, evaluate.\n")
    _section("Options", _OPTIONS)
    commands = registry().commands()
    _section("Commands", {name: command.summary for name, command in commands.items()})
    broken = [plugin.distribution for plugin in registry().broken()]
    if broken:
        print(f"Plugins with problems: {', '.join(broken)} (see `cwm plugins`)")
    return 0


def _section(title: str, rows: dict[str, str]) -> None:
    width = max((len(name) for name in rows), default=0)
    print(f"{title}:")
    for name, text in rows.items():
        print(f"  {name:<{width}}  {text}")
    print()


def _version() -> int:
    from cwm_core.plugins import registry

    versions = {plugin.distribution: plugin.version for plugin in registry().plugins()}
    for name, version in versions.items():
        print(f"{name} {version}")
    return 0


def _completion(arguments: list[str]) -> int:
    from cwm_core.cli.dispatch import complete

    return complete(arguments)


def _unknown_option(option: str) -> int:
    from cwm_core.suggestions import did_you_mean

    known = [name for names in _OPTIONS for name in names.split(", ")]
    _complain(f"Error: unknown option '{option}'{did_you_mean(option, known)}")
    return USAGE_ERROR


def _interrupted() -> int:
    _complain("Stopped; the same command continues where it was.")
    return TERMINATED if received_sigterm() else INTERRUPTED


def _catch_sigterm() -> None:
    """Let SIGTERM unwind the stack as Ctrl-C does, in this process but not in forked ones."""
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        _signals.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handle)


def _trace(error: BaseException) -> None:
    if is_debug():
        import traceback

        traceback.print_exception(error)


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
