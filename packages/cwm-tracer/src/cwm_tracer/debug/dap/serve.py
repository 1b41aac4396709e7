"""Where clients come from: standard input and output, or a TCP port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from cwm_core.errors import RunError
from cwm_tracer.debug.dap.adapter import Adapter
from cwm_tracer.debug.dap.wire import Writer

MakeAdapter = Callable[[Writer], Adapter]


async def serve_stdio(make: MakeAdapter) -> None:
    """Serve the one client at the other end of standard input and output."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, sys.stdout.buffer
    )
    await make(asyncio.StreamWriter(transport, protocol, None, loop)).serve(reader)


async def serve_tcp(make: MakeAdapter, host: str, port: int) -> None:
    """Serve any number of clients, each with a session of its own, until cancelled.

    Raises:
        RunError: the port cannot be had.
    """
    writers: set[asyncio.StreamWriter] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            await make(writer).serve(reader)
        finally:
            writers.discard(writer)
            writer.close()

    try:
        server = await asyncio.start_server(client, host, port)
    except OSError as error:
        raise RunError(
            f"cannot listen at {host}:{port}: {error.strerror}", "choose another port, or 0 for any"
        ) from error
    place = server.sockets[0].getsockname()
    print(f"listening at {place[0]}:{place[1]}", file=sys.stderr, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        server.close()
        for writer in writers:
            writer.close()


def run_until_terminated(serving: Coroutine[Any, Any, None]) -> None:
    """Run a server; SIGTERM and Ctrl-C end it quietly.

    The loop is told of SIGTERM. As an exception it could arise in a finaliser, and be lost.
    """

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await serving

    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(main())
