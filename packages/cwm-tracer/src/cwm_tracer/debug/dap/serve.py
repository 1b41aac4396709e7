"""Where clients come from: standard input and output, or a TCP port."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

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

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await make(writer).serve(reader)
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(client, host, port)
    except OSError as error:
        raise RunError(
            f"cannot listen at {host}:{port}: {error.strerror}", "choose another port, or 0 for any"
        ) from error
    async with server:
        place = server.sockets[0].getsockname()
        print(f"listening at {place[0]}:{place[1]}", file=sys.stderr, flush=True)
        await server.serve_forever()
