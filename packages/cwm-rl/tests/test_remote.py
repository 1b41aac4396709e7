"""Engines behind HTTP: what they are asked when weights change, and whose versions tokens get."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cwm_core.engine.base import EngineError, SamplingParams
from cwm_rl.rollout.remote import RemoteEngine


class Server(ThreadingHTTPServer):
    """Notes what it is asked and answers like a completions server without versions."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, Any]] = []
        self.refuses = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.answer({"data": [{"id": "policy"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        if self.server.refuses and self.server.refuses in self.path:
            self.answer({"error": {"message": "no"}}, 400)
        elif self.path.endswith("/completions"):
            choice = {"token_ids": [4, 5], "finish_reason": "stop", "text": "x"}
            choice["logprobs"] = {"token_logprobs": [-1.0, -2.0]}
            self.answer({"choices": [choice]})
        else:
            self.answer({"success": True})

    def answer(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.mark.parametrize(
    ("api", "paths"),
    [
        ("cwm", ["/update_weights_from_disk"]),
        (
            "sglang",
            ["/pause_generation", "/update_weights_from_disk", "/continue_generation"],
        ),
        ("vllm", ["/pause?mode=keep&clear_cache=false", "/collective_rpc", "/resume"]),
    ],
)
def test_weights_are_replaced_by_each_servers_interface(
    server: Server, api: Any, paths: list[str]
) -> None:
    async def update() -> Any:
        engine = RemoteEngine(server.url, api, 10.0)
        await engine.update_weights(Path("/weights/7"), 7)
        made = await engine.generate([1, 2], SamplingParams(4))
        await engine.close()
        return made

    made = asyncio.run(update())
    assert [path for path, _ in server.asked[:-1]] == paths
    assert "/weights/7" in json.dumps(server.asked)
    assert made.model_versions == (7, 7)


@pytest.mark.parametrize(("api", "resume"), [("vllm", "/resume"), ("sglang", "/continue")])
def test_a_server_that_refuses_weights_goes_on_with_the_old(
    server: Server, api: Any, resume: str
) -> None:
    server.refuses = "collective_rpc" if api == "vllm" else "update_weights"

    async def update() -> None:
        engine = RemoteEngine(server.url, api, 10.0)
        try:
            await engine.update_weights(Path("/weights/7"), 7)
        finally:
            await engine.close()

    with pytest.raises(EngineError, match="refused a request"):
        asyncio.run(update())
    assert server.asked[-1][0].startswith(resume)
