"""A provider on loopback that bills what it computed, for real SDKs: it answers, hangs, fails or breaks off as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

USAGE = {"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99}
TEXT = "It is sunny in Bern."
QUESTION = "What is the weather in Bern? " + "Say it in a sentence, and name the hour and the place. " * 10


@dataclass(frozen=True)
class Answer:
    """What becomes of one request.

    Attributes:
        status: of the answer.
        hangs: no answer comes until the provider is closed.
        text: what it says; a stream says it word by word.
        finish: why it ended.
        usage: what it reports of the call.
        counts: in a stream: where asked, never, in each chunk as running totals; or a request for it is refused.
    """

    status: int = 200
    hangs: bool = False
    text: str = TEXT
    finish: str = "stop"
    usage: Mapping[str, Any] = field(default_factory=lambda: USAGE)
    counts: Literal["asked", "never", "running", "refused"] = "asked"


class Billing:
    """The provider: what it was asked, and how it answers. After the last answer it repeats it."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = answers or (Answer(),)
        self.requests: list[dict[str, Any]] = []
        self.attempts: list[str | None] = []
        self.closed = threading.Event()
        self.url = ""
        self._lock = threading.Lock()

    def next(self, body: dict[str, Any], attempt: str | None) -> Answer:
        """Take a request in."""
        with self._lock:
            answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
            self.requests.append(body)
            self.attempts.append(attempt)
        return answer


@contextmanager
def billing(*answers: Answer) -> Iterator[Billing]:
    """Run one."""
    running = Billing(*answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = running.next(body, self.headers.get("x-stainless-retry-count"))
            if answer.hangs:
                running.closed.wait(60)
                return
            if answer.counts == "refused" and "stream_options" in body:
                self.say(400, {"error": {"message": "Unknown parameter: 'stream_options'.", "type": "invalid"}})
            elif answer.status != 200:
                self.say(answer.status, {"error": {"message": "It failed.", "type": "server_error"}})
            elif body.get("stream"):
                self.stream(body, answer)
            else:
                message = {"role": "assistant", "content": answer.text}
                choice = {"index": 0, "finish_reason": answer.finish, "message": message}
                self.say(200, {**_head(body), "object": "chat.completion", "choices": [choice], "usage": answer.usage})

        def say(self, status: int, content: object) -> None:
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def stream(self, body: dict[str, Any], answer: Answer) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            words = answer.text.split(" ")
            for number, word in enumerate(words):
                delta = {"role": "assistant", "content": word if number == 0 else " " + word}
                share = {name: _running_total(name, value, number, len(words)) for name, value in answer.usage.items()}
                self.chunk(body, [{"index": 0, "delta": delta}], share if answer.counts == "running" else None)
            last = answer.usage if answer.counts == "running" else None
            self.chunk(body, [{"index": 0, "delta": {}, "finish_reason": answer.finish}], last)
            asked = (body.get("stream_options") or {}).get("include_usage")
            if asked and answer.counts == "asked":
                self.chunk(body, [], answer.usage)
            self.wfile.write(b"data: [DONE]\n\n")

        def chunk(self, body: dict[str, Any], choices: list[Any], usage: object) -> None:
            content = {**_head(body), "object": "chat.completion.chunk", "choices": choices, "usage": usage}
            self.wfile.write(b"data: " + json.dumps(content).encode() + b"\n\n")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _head(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "answer", "created": 0, "model": body["model"]}


def _running_total(name: str, value: Any, number: int, words: int) -> Any:
    """Of a count that grows with the answer so much as the answer has grown."""
    return value if name == "prompt_tokens" or not isinstance(value, int) else value * (number + 1) // (words + 1)
