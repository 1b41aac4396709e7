"""A client of the Debug Adapter Protocol: debugpy's messaging layer, and the order of requests."""

from __future__ import annotations

import queue
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from debugpy.common.messaging import Event, JsonIOStream, JsonMessageChannel

WAIT_S = 600


class Client:
    """Starts ``cwm debug ARGUMENTS`` as a debug adapter, asks it, and waits for its events."""

    def __init__(self, arguments: Sequence[str], *, tcp: bool = False) -> None:
        """Speak over its standard input and output, or over TCP."""
        command = [sys.executable, "-m", "cwm_core", "debug", *arguments]
        self.process, stream = _listening(command) if tcp else _piped(command)
        self._events: queue.Queue[Event] = queue.Queue()
        self._channel = JsonMessageChannel(stream, self)
        self._channel.start()

    def event(self, message: Event) -> None:
        """Called by the channel."""
        self._events.put(message)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Send a request; returns the body of its response."""
        return self._channel.send_request(command, arguments).wait_for_response()

    def wait_for(self, name: str) -> Any:
        """Take events up to one of this name; returns its body."""
        while (message := self._events.get(timeout=WAIT_S)).event != name:
            pass
        return message.body

    def launch(self, **arguments: Any) -> Any:
        """Begin a session; returns its first source when it has stopped at the first event."""
        self.ask("initialize", adapterID="cwm")
        self.ask("launch", **arguments)
        self.wait_for("initialized")
        source = self.ask("loadedSources")["sources"][0]
        self.ask("configurationDone")
        self.wait_for("stopped")
        return source

    def move(self, command: str, **arguments: Any) -> Any:
        """Send a request that moves; returns the body of the stop that follows."""
        self.ask(command, threadId=1, **arguments)
        return self.wait_for("stopped")

    def scopes(self) -> dict[str, list[dict[str, Any]]]:
        """Ask for what an editor shows after a stop: the variables of the top frame's scopes."""
        top = self.ask("stackTrace", threadId=1, levels=20)["stackFrames"][0]
        return {
            scope["name"]: self.ask("variables", variablesReference=scope["variablesReference"])[
                "variables"
            ]
            for scope in self.ask("scopes", frameId=top["id"])["scopes"]
        }

    def close(self) -> None:
        """End the session and the process."""
        self.ask("disconnect")
        self.process.terminate()
        self.process.wait(WAIT_S)


def _piped(command: list[str]) -> tuple[subprocess.Popen[Any], JsonIOStream]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([*command, "--dap"], stdin=pipe, stdout=pipe)
    return process, JsonIOStream.from_process(process)


def _listening(command: list[str]) -> tuple[subprocess.Popen[Any], JsonIOStream]:
    process = subprocess.Popen([*command, "--listen", "0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r":(\d+)$", said.strip())
    if found is None:
        raise SystemExit(said + process.stderr.read())
    connection = socket.create_connection(("127.0.0.1", int(found[1])))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return process, JsonIOStream.from_socket(connection)
