"""A real HTTP server of completions with token ids, which misbehaves when told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from cwm_core.text.tokenizer import Tokenizer

Trouble = Literal["fail", "stall", "cut", "html"]


class ModelServer(ThreadingHTTPServer):
    """Answers a prompt, as text, by `reply`; `troubles` are for requests by number, from 0."""

    daemon_threads = True

    def __init__(
        self,
        tokenizer: Tokenizer,
        reply: Callable[[str], str],
        troubles: Mapping[int, Trouble] | None = None,
        stall_s: float = 20.0,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tokenizer, self.reply = tokenizer, reply
        self.troubles, self.stall_s = dict(troubles or {}), stall_s
        self.prompts: list[list[int]] = []
        """Token ids of every prompt that came, whatever became of it."""
        self.had: list[Trouble] = []
        """Troubles that were made."""
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """What clients call ``base_url``."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def completion(self, prompt: list[int]) -> dict[str, Any]:
        """Return the answer to a prompt."""
        text = self.reply(self.tokenizer.decode(prompt))
        ids = [*self.tokenizer.encode(text), self.tokenizer.special_id("<|eot_id|>")]
        logprobs = {"token_logprobs": [-0.5] * len(ids)}
        choice = {"text": text, "token_ids": ids, "logprobs": logprobs, "finish_reason": "stop"}
        return {"choices": [choice]}


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_GET(self) -> None:
        self.send(json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            trouble = server.troubles.get(len(server.prompts))
            server.prompts.append(body["prompt"])
            if trouble is not None:
                server.had.append(trouble)
        answer = json.dumps(server.completion(body["prompt"]))
        if trouble == "fail":
            self.send_error(503)
        elif trouble == "stall":
            time.sleep(server.stall_s)
        elif trouble == "html":
            self.send("<html>Bad gateway</html>", "text/html")
        elif trouble == "cut":
            self.send(answer[: len(answer) // 2], length=len(answer))
            self.close_connection = True
        else:
            self.send(answer)

    def send(self, text: str, kind: str = "application/json", length: int | None = None) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        return None


@contextmanager
def running(server: ModelServer) -> Iterator[ModelServer]:
    """Serve while the block runs."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
