"""A provider on loopback that speaks OpenAI's chat completions, for what AutoGen does with its own client only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


class Provider:
    """Answers each request with the text that `answer` makes of its body, and keeps the bodies."""

    def __init__(self, url: str, answer: Callable[[dict[str, Any]], str]) -> None:
        self.url, self.answer = url, answer
        self.requests: list[dict[str, Any]] = []

    @property
    def models(self) -> list[str]:
        """The models that were called."""
        return [body["model"] for body in self.requests]

    def config(self, *models: str) -> dict[str, Any]:
        """An `llm_config` with an entry for each model."""
        entries = [{"model": model, "base_url": self.url, "api_key": "none", "max_tokens": 64} for model in models]
        return {"config_list": entries, "cache_seed": None}


@contextmanager
def provider(answer: Callable[[dict[str, Any]], str]) -> Iterator[Provider]:
    """Run one."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            running.requests.append(body)
            message = {"role": "assistant", "content": running.answer(body)}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            answer = {"id": f"answer-{len(running.requests)}", "object": "chat.completion", "created": 0}
            sent = json.dumps({**answer, "model": body["model"], "choices": [choice], "usage": USAGE}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Provider(f"http://127.0.0.1:{server.server_address[1]}/v1", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
