"""Providers on loopback that count what they bill, and a proxy before them; each in a thread of its own."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from payloads import MAKERS, Spent
from rows import listed_price

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.client.portal import Portal
from aegis_core.governor.proxy_keys import KeyTerms, ProxyKey
from aegis_core.protocol.events import Event
from aegis_core.protocol.profiles import Profile
from aegis_core.proxy.app import ProxyApp
from aegis_core.proxy.server import proxy_protocol

PROVIDER_KEY = "sk-of-the-provider-0123456789"
MODELS = {
    "openai_chat": "gpt-5.5", "openai_responses": "gpt-5.5", "anthropic": "claude-opus-4-6",
    "gemini": "gemini-3.8-flash",
}  # fmt: skip

_BILLING = threading.Lock()


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each.lower() == name), None)


@dataclass
class Provider:
    """What it answers, and what it was asked and bills.

    Attributes:
        spent: what the next calls consume.
        act: answers instead, with the handler and the body; what it bills it must say itself.
        pause: between the events of a stream.
    """

    url: str = ""
    spent: Spent = field(default_factory=Spent)
    act: Callable[[Any, Any], None] | None = None
    pause: float = 0
    asked: list[Asked] = field(default_factory=list[Asked])
    billed: int = 0
    closed: threading.Event = field(default_factory=threading.Event)

    def forget(self) -> None:
        """As it was at first."""
        self.spent, self.act, self.pause, self.billed = Spent(), None, 0, 0
        self.asked.clear()

    @property
    def billed_usd(self) -> Decimal:
        return Decimal(self.billed).scaleb(-9)


def api_of(path: str) -> str:
    if path.endswith("/messages"):
        return "anthropic"
    if "enerateContent" in path:
        return "gemini"
    return "openai_responses" if path.endswith("/responses") else "openai_chat"


class Handler(BaseHTTPRequestHandler):
    """One connection to a provider."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: Provider

    def do_GET(self) -> None:
        self.note(b"")
        self.whole({"object": "list", "data": [{"id": "gpt-5.5", "object": "model", "created": 1, "owned_by": "o"}]})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.note(raw)
        provider, path = self.provider, self.path.partition("?")[0]
        body = json.loads(raw)
        if provider.act is not None:
            provider.act(self, body)
            return
        if path.endswith(("count_tokens", "countTokens", "input_tokens")):
            self.whole({"input_tokens": 7, "totalTokens": 7, "object": "response.input_tokens"})
            return
        api = api_of(path)
        self.bill(api)
        whole, chunks = MAKERS[api](provider.spent, MODELS[api])
        if body.get("stream") or "stream" in path:
            if api == "openai_chat" and not (body.get("stream_options") or {}).get("include_usage"):
                chunks = [chunk for chunk in chunks if chunk["choices"]]
                for chunk in chunks:
                    chunk.pop("usage", None)
            self.stream(chunks)
        else:
            self.whole(whole)

    def note(self, raw: bytes) -> None:
        self.provider.asked.append(Asked(self.path, [*self.headers.items()], raw))

    def bill(self, api: str) -> None:
        price = listed_price(self.provider.spent, MODELS[api], datetime.now(UTC))
        with _BILLING:  # calls end in threads of their own
            self.provider.billed += price

    def whole(self, value: object, status: int = 200, **headers: str) -> None:
        sent = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        for name, header in headers.items():
            self.send_header(name.replace("_", "-"), header)
        self.end_headers()
        self.wfile.write(sent)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("X-Request-Id", "req_of_the_provider")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def stream(self, chunks: list[Any], *, ends: bool = True) -> None:
        self.begin_stream()
        for chunk in chunks:
            self.chunk(event_of(chunk))
            if self.provider.pause:
                self.provider.closed.wait(self.provider.pause)
        if ends:
            if "choices" in chunks[0]:
                self.chunk(b"data: [DONE]\n\n")
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def log_message(self, *_: object) -> None: ...


def event_of(chunk: Any) -> bytes:
    name = f"event: {chunk['type']}\n" if "type" in chunk else ""
    return f"{name}data: {json.dumps(chunk)}\n\n".encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """A client that leaves is what some tests are about."""


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider of all APIs until the block ends."""
    provider = Provider()
    server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"provider": provider}))
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()


def upstreams_of(settings: Settings, url: str, folder: Path, *others: str) -> Settings:
    """Settings by which a proxy forwards everything to one place."""
    names = ("openai", "anthropic", "gemini", *others)
    keys = folder / "keys.json"
    keys.write_text(json.dumps(dict.fromkeys((name.partition(":")[0] for name in names), PROVIDER_KEY)))
    keys.chmod(0o600)
    return settings.model_copy(update={"proxy_upstreams": dict.fromkeys(names, url), "proxy_keys_file": keys})


@contextmanager
def proxying(settings: Settings, listener: socket.socket | None = None) -> Iterator[str]:
    """Serve the proxy until the block ends; answers its URL. `listener`: where, else on any port of loopback."""
    with listener or socket.create_server(("127.0.0.1", 0)) as bound:
        plan = uvicorn.Config(
            ProxyApp(settings), log_config=None, ws="none", http=proxy_protocol(settings), lifespan="on",
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = uvicorn.Server(plan)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        until = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive(), "the proxy did not start"
            assert time.monotonic() < until, "the proxy does not answer"
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


class Stand:
    """A provider, a proxy before it, and the governor that both are judged by.

    Attributes:
        provider: what it answers, and what it was asked.
        url: of the proxy.
        settings: those of the proxy.
        port: the governor, asked through `run`.
    """

    def __init__(self, provider: Provider, url: str, settings: Settings, portal: Portal, governor: Governor) -> None:
        self.provider, self.url, self.settings = provider, url, settings
        self.port: Any = governor.port
        self.run = portal.run
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._agents = count(1)

    def post(self, path: str, key: ProxyKey | str, body: Any, **headers: str) -> httpx.Response:
        """A call without an SDK, which would try again; underlines in names of headers are dashes."""
        secret = key if isinstance(key, str) else key.secret
        sent = {"authorization": f"Bearer {secret}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.http.post(path, headers=sent, **content)

    def key(self, agent: str | None = None, *, budget: str | None = None, **terms: Any) -> ProxyKey:
        """A key of an agent of its own, unless one is named, with a day's budget."""
        agent = agent or f"agent-{next(self._agents)}"
        if budget is not None:
            profile = Profile(match=agent, budgets={"day": Decimal(budget)})
            self.run(self.port.operator.set_profile(profile, author="test"))
        return self.run(self.port.operator.proxy_keys.create(KeyTerms(agent_id=agent, **terms), author="test"))

    def events(self, agent: str, *kinds: str) -> list[Event]:
        """What observers were told of an agent."""
        found = self.run(self.port.latest_events(5_000))
        return [event for event in found if event.agent_id == agent and event.kind in kinds]

    def ended(self, agent: str, many: int = 1, *, longest: float = 30) -> list[Event]:
        """The ends of an agent's grants, once there are so many: how each was charged."""
        until = time.monotonic() + longest
        while len(found := self.events(agent, *ENDS)) < many:
            assert time.monotonic() < until, f"{len(found)} of {many} grants have ended"
            time.sleep(0.01)
        return found

    def left(self, agent: str) -> Decimal:
        """What is left of an agent's day."""
        return self.run(self.port.budget(agent)).remaining_budget_usd


ENDS = ("settled", "released", "overrun", "expired")


@contextmanager
def standing(settings: Settings, folder: Path, url: str | None = None) -> Iterator[Stand]:
    """A stand until the block ends. `url`: of another provider."""
    portal = Portal()
    try:
        with providing() as provider:
            settings = upstreams_of(settings, url or provider.url, folder, "openrouter", "vllm")
            with (
                portal.hold(aegis_core.connect(settings=settings)) as governor,
                proxying(settings) as served,
            ):
                stand = Stand(provider, served, settings, portal, governor)
                yield stand
                stand.http.close()
    finally:
        portal.close()


def charged(events: list[Event]) -> Decimal:
    """What was charged in all, exactly."""
    return sum((Decimal(str(event.facts["charged_usd"])) for event in events), Decimal(0))


def estimated(events: list[Event]) -> list[bool]:
    """Of which charges nobody knows whether they are what was billed."""
    return [bool(event.facts.get("estimated")) for event in events]
