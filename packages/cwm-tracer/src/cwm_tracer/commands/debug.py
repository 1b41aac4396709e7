"""`cwm debug`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cwm_tracer.debug.config import DebugConfig
    from cwm_tracer.debug.opening import Subject

app = typer.Typer(add_completion=False)


@app.command()
def debug(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE.py:function | module:function | SHARDS] [key=value ...]",
            help="What to debug; an editor may say so itself.",
        ),
    ] = None,
    input: Annotated[
        str, typer.Option("--input", help='Argument list as Python source: "[1, 2], k=3".')
    ] = "",
    trace_id: Annotated[str, typer.Option("--trace", help="Which trace of the shards.")] = "",
    dap: Annotated[
        bool, typer.Option("--dap", help="Speak the Debug Adapter Protocol on stdin and stdout.")
    ] = False,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="[HOST:]PORT", help="Speak the protocol on a TCP port."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the session as a page to this file.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file.")] = None,
) -> int:
    """Step through an execution, as it was recorded or as a model predicts it, back and forth.

    `cwm debug FILE.py:function --input "1, 2"` opens it on the terminal. With `engine=local
    engine.checkpoint=DIR` the model's prediction stands beside it; `mode=predicted` goes on with
    the prediction alone.
    """
    from cwm_core.config import compose
    from cwm_tracer.debug.config import DebugConfig
    from cwm_tracer.debug.opening import Subject

    words = list(arguments or [])
    target = words.pop(0) if words and "=" not in words[0] else None
    settings = compose("debug", DebugConfig, words, config)
    subject = None if target is None else Subject(target, input, trace_id)
    if dap or listen is not None:
        return _serve(settings, subject, words, listen)
    if subject is None:
        raise _nothing()
    if html is not None:
        return asyncio.run(_page(settings, subject, html))
    return asyncio.run(_terminal(settings, subject))


def _nothing() -> Exception:
    from cwm_core.errors import ConfigError

    return ConfigError("nothing to debug", "give FILE.py:function, or SHARDS and --trace ID")


def _serve(
    settings: DebugConfig, subject: Subject | None, words: list[str], listen: str | None
) -> int:
    from cwm_core.config import compose
    from cwm_tracer.debug.config import DebugConfig
    from cwm_tracer.debug.dap.adapter import Adapter
    from cwm_tracer.debug.dap.serve import run_until_terminated, serve_stdio, serve_tcp
    from cwm_tracer.debug.dap.wire import Writer

    def configure(overrides: list[str]) -> DebugConfig:
        return compose("debug", DebugConfig, [*words, *overrides], None)

    def make(writer: Writer) -> Adapter:
        return Adapter(configure, writer, None if subject is None else (settings, subject))

    run_until_terminated(
        serve_stdio(make) if listen is None else serve_tcp(make, *_address(listen))
    )
    return 0


def _address(listen: str) -> tuple[str, int]:
    from cwm_core.errors import ConfigError

    host, _, port = listen.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--listen {listen} is no port", "write 4711, or HOST:4711")
    return host or "127.0.0.1", int(port)


async def _page(settings: DebugConfig, subject: Subject, path: Path) -> int:
    from cwm_tracer.debug.opening import open_story
    from cwm_tracer.debug.page import write_session

    opened = await open_story(settings, subject)
    try:
        print(await write_session(opened, path))
    finally:
        await opened.close()
    return 0


async def _terminal(settings: DebugConfig, subject: Subject) -> int:
    from cwm_tracer.debug.heap import settle
    from cwm_tracer.debug.opening import open_story
    from cwm_tracer.debug.tui.app import DebuggerApp

    opened = await open_story(settings, subject)
    settle()
    try:
        await DebuggerApp(opened).run_async()
    finally:
        await opened.close()
    return 0
