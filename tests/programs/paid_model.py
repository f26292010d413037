"""A provider on loopback that speaks OpenAI's chat completions, answers as a program of the test says, and bills."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aegis_core.client.sync import SyncGovernor

MODEL = "gpt-4o-mini"
INPUT_NANOS, OUTPUT_NANOS = 150, 600
"""What the provider takes for a token of its model, in nano-dollars."""


@dataclass(frozen=True)
class Said:
    """One answer: a text, or calls of tools by name and arguments."""

    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()


Reply = Callable[[list[dict[str, Any]], dict[str, Any]], Said]
"""Answers by the messages and the whole body of a request."""


class Provider:
    """What was asked, and what it cost."""

    def __init__(self, reply: Reply) -> None:
        self.reply, self.url = reply, ""
        self.requests: list[dict[str, Any]] = []
        self.nanos = 0
        self._lock = threading.Lock()

    def completion(self, raw: bytes) -> dict[str, Any]:
        """Answer one request, and add it to the bill."""
        body = json.loads(raw)
        said = self.reply(body["messages"], body)
        read, written = len(raw) // 5 + 1, max(1, len(json.dumps([said.text, said.calls])) // 4)
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.nanos += read * INPUT_NANOS + written * OUTPUT_NANOS
        message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
        if said.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{number}_{place}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for place, (name, arguments) in enumerate(said.calls)
            ]
        reason = "tool_calls" if said.calls else "stop"
        return {
            "id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": reason, "message": message}],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }  # fmt: skip

    def offered(self) -> list[set[str]]:
        """The names of the tools that each request offered."""
        return [{each["function"]["name"] for each in body.get("tools", ())} for body in self.requests]


@contextmanager
def provider(reply: Reply) -> Iterator[Provider]:
    """Run one."""
    running = Provider(reply)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.dumps(running.completion(self.rfile.read(int(self.headers["Content-Length"])))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check_books(governor: SyncGovernor, provider: Provider, tools: str | Decimal = "0") -> None:
    """Charged is what was billed, and what tools cost; nothing is held, asked or locked any more."""
    someone = governor.agents()[0].agent_id
    day = next(each for each in governor.budget(someone).budgets if (each.scope, each.window) == ("tenant", "day"))
    assert (day.spent_usd, day.reserved_usd) == (Decimal(provider.nanos).scaleb(-9) + Decimal(tools), 0)
    assert (governor.approvals.list(), governor.locks()) == ((), ())


def last_of(messages: list[dict[str, Any]], role: str) -> str:
    """The text of the last message of a role."""
    found = next((each for each in reversed(messages) if each["role"] == role), {})
    content = found.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def results(messages: list[dict[str, Any]]) -> list[str]:
    """What tools answered since the last message of the user."""
    place = max((n for n, each in enumerate(messages) if each["role"] == "user"), default=-1)
    return [str(each["content"]) for each in messages[place + 1 :] if each["role"] == "tool"]
