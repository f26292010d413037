"""Providers on loopback, for their own SDKs: OpenAI (chat and Responses), Anthropic and Gemini, on one port.

Each refuses what the real one refuses, answers in its own words, whole or as a stream, and writes down what it bills.
What is said, `answering` decides, alike for all of them.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import ROUND_CEILING, Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import genai_prices

from loopback import anthropic_api, gemini_api, openai_api, responses_api
from loopback.answering import Asked, Bill, RefusedError, Said, obedient

APIS = (openai_api, responses_api, anthropic_api, gemini_api)


class Providers:
    """What they were asked, and what they bill.

    Attributes:
        openai: the base URL for OpenAI's SDK.
        root: the base URL for those of Anthropic and Google.
        reply: what is said to a request.
        requests: the bodies that came, in order.
        bills: one for each answer.
        refused: what was refused, and why.
    """

    def __init__(self, reply: Callable[[Asked], Said]) -> None:
        self.root = self.openai = ""
        self.reply = reply
        self.requests: list[dict[str, Any]] = []
        self.bills: list[Bill] = []
        self.refused: list[str] = []
        self._lock = threading.Lock()

    @property
    def models(self) -> list[str]:
        """The models that answered."""
        return [bill.model for bill in self.bills]

    @property
    def usd(self) -> Decimal:
        """All bills at the public prices, each rounded up to the nano-dollar."""
        return sum((_priced(bill) for bill in self.bills), Decimal(0))

    def take(self, api: Any, path: str, body: dict[str, Any]) -> tuple[Asked, Said, Bill]:
        """Answer a request and bill it.

        Raises:
            RefusedError: the provider takes it not like this.
        """
        with self._lock:
            self.requests.append(body)
            number = len(self.bills)
        asked = api.read(path, body)
        said = self.reply(asked)
        time.sleep(said.seconds)
        if said.status != 200:
            raise RefusedError(said.status, said.text or "It failed.")
        bill = Bill.of(asked, said, number)
        with self._lock:
            self.bills.append(bill)
        return asked, said, bill


@contextmanager
def providers(reply: Callable[[Asked], Said] = obedient) -> Iterator[Providers]:
    """Run them."""
    running = Providers(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = self.path.partition("?")[0]
            api = next(each for each in APIS if each.serves(path))
            try:
                asked, said, bill = running.take(api, path, body)
            except RefusedError as error:
                running.refused.append(str(error))
                self.say(error.status, api.failed(error))
                return
            if asked.streams:
                self.stream(api.events(asked, said, bill))
            else:
                self.say(200, api.answer(asked, said, bill))

        def say(self, status: int, content: object) -> None:
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            # SDKs keep clients for the process, and a connection that outlives its event loop fails the next call.
            self.send_header("Connection", "close")
            self.close_connection = True
            self.end_headers()
            self.wfile.write(sent)

        def stream(self, events: Iterator[Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            for event in events:
                name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
                text = event if isinstance(event, str) else json.dumps(event)
                self.wfile.write(f"{name}data: {text}\n\n".encode())

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (BrokenPipeError, ConnectionResetError):  # the SDK gave up
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    running.root = f"http://127.0.0.1:{server.server_address[1]}"
    running.openai = f"{running.root}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _priced(bill: Bill) -> Decimal:
    usage = genai_prices.Usage(
        input_tokens=bill.sent,
        output_tokens=bill.made,
        cache_read_tokens=bill.cached or None,
        cache_write_tokens=bill.written or None,
    )
    total = genai_prices.calc_price(usage, model_ref=bill.model).total_price
    return total.scaleb(9).to_integral_value(ROUND_CEILING).scaleb(-9)
