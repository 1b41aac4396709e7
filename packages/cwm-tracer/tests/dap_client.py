"""A client that speaks to a debug adapter through debugpy's published messaging layer."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
from typing import Any

from debugpy.common.messaging import Event, JsonIOStream, JsonMessageChannel, MessageHandlingError

TIMEOUT_S = 120


class Handlers:
    """Keeps every event; any message that is out of order or malformed raises in the channel."""

    def __init__(self) -> None:
        self.events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.seen: list[str] = []

    def event(self, message: Event) -> None:
        self.seen.append(message.event)
        self.events.put((message.event, dict(message.body or {})))

    def disconnect(self) -> None:
        self.events.put(("disconnected", {}))


class Client:
    """One session."""

    def __init__(self, stream: JsonIOStream) -> None:
        self.handlers = Handlers()
        self.channel = JsonMessageChannel(stream, self.handlers)
        self.channel.start()
        self.requests = 0

    @classmethod
    def over_stdio(cls, *arguments: str) -> tuple[Client, subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "cwm_core", "debug", *arguments, "--dap"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return cls(JsonIOStream.from_process(process)), process

    @classmethod
    def over_tcp(cls, port: int) -> Client:
        return cls(JsonIOStream.from_socket(socket.create_connection(("127.0.0.1", port), 60)))

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        self.requests += 1
        return dict(self.channel.send_request(command, arguments).wait_for_response() or {})

    def refused(self, command: str, **arguments: Any) -> str:
        self.requests += 1
        answer = self.channel.send_request(command, arguments).wait_for_response(False)
        assert isinstance(answer, MessageHandlingError), answer
        return str(answer)

    def wait_for(self, event: str) -> dict[str, Any]:
        """Take events up to one of this name, and return its body."""
        while True:
            name, body = self.handlers.events.get(timeout=TIMEOUT_S)
            if name == event:
                return body
            assert name != "disconnected", f"the adapter left before {event}"

    def move(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a request that moves the session, and return what it stopped for."""
        self.ask(command, threadId=1, **arguments)
        return self.wait_for("stopped")

    def launch(self, **arguments: Any) -> None:
        self.ask("initialize", adapterID="cwm", linesStartAt1=True, columnsStartAt1=True)
        self.ask("launch", **arguments)
        self.wait_for("initialized")

    def top(self) -> dict[str, Any]:
        return self.ask("stackTrace", threadId=1)["stackFrames"][0]

    def scopes(self) -> dict[str, dict[str, str]]:
        """All variables of the function on top, by scope."""
        scopes = self.ask("scopes", frameId=self.top()["id"])["scopes"]
        return {
            scope["name"]: {
                each["name"]: each["value"]
                for each in self.ask("variables", variablesReference=scope["variablesReference"])[
                    "variables"
                ]
            }
            for scope in scopes
        }

    def close(self) -> None:
        self.ask("disconnect")
        self.wait_for("terminated")
        self.channel.close()
