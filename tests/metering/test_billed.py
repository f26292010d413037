"""Official SDKs over HTTP against a provider that bills: what is charged is what it billed, by every road.

Rows whose answer ends as it should are charged to the nano-dollar. What breaks off, hangs, or says nothing or nonsense
of its usage costs the reservation, marked. Never is more charged than was reserved.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from payloads import MAKERS, MODELS, Spent
from rows import KINDS, ROWS, listed_price

from aegis_core import Allowance, Settings, connect_sync
from aegis_core.client.grants import Grant
from aegis_core.client.sync import SyncGovernedAgent

SDKS = ("openai_chat", "openai_responses", "anthropic", "gemini")
TABLE = [(api, kind) for api, kind in ROWS if api in SDKS]
PATIENCE = 0.3


class Provider:
    """What it answers next, and when it lets go of who waits."""

    def __init__(self) -> None:
        self.url = ""
        self.whole: Any = None
        self.chunks: list[Any] = []
        self.hangs = False
        self.breaks_after: int | None = None
        self.closed = threading.Event()

    def tell(self, api: str, spent: Spent, change: Callable[[Any], None] | None = None) -> None:
        self.whole, self.chunks = MAKERS[api](spent, MODELS[api])
        for part in (self.whole, *self.chunks):
            if change:
                change(part)


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if found.hangs:
                found.closed.wait(60)
            elif body.get("stream") or "streamGenerateContent" in self.path:
                self.stream()
            else:
                self.begin("application/json", sent := json.dumps(found.whole).encode())
                self.wfile.write(sent)

        def begin(self, kind: str, sent: bytes | None = None) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if sent is not None:
                self.send_header("Content-Length", str(len(sent)))
            self.end_headers()

        def stream(self) -> None:
            """Server-sent events; cut off by an answer that is shorter than its length says."""
            self.begin("text/event-stream", None if found.breaks_after is None else b" " * 10**6)
            for chunk in found.chunks[: found.breaks_after]:
                name = f"event: {chunk['type']}\n" if "type" in chunk else ""
                self.wfile.write(f"{name}data: {json.dumps(chunk)}\n\n".encode())
            if found.breaks_after is None and "choices" in found.chunks[0]:
                self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    found.closed.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def agent(settings: Settings) -> Iterator[SyncGovernedAgent]:
    with connect_sync(settings=settings) as governor:
        yield governor.handshake("a")


def call(api: str, url: str, streamed: bool) -> Any:
    """One call by the official SDK: its answer, or all parts of its stream."""
    said: Any = [{"role": "user", "content": "Hello"}]
    if api == "openai_chat":
        with openai.OpenAI(base_url=url, api_key="none", timeout=PATIENCE, max_retries=0) as client:
            chat = client.chat.completions
            return (
                list(chat.create(model="m", messages=said, stream=True))
                if streamed
                else chat.create(model="m", messages=said)
            )
    if api == "openai_responses":
        with openai.OpenAI(base_url=url, api_key="none", timeout=PATIENCE, max_retries=0) as client:
            made = client.responses
            return (
                list(made.create(model="m", input="Hello", stream=True))
                if streamed
                else made.create(model="m", input="Hello")
            )
    if api == "anthropic":
        with anthropic.Anthropic(base_url=url, api_key="none", timeout=PATIENCE, max_retries=0) as client:
            messages = client.messages
            return (
                list(messages.create(model="m", messages=said, max_tokens=9, stream=True))
                if streamed
                else (messages.create(model="m", messages=said, max_tokens=9))
            )
    options = genai.types.HttpOptions(base_url=url, timeout=int(PATIENCE * 1_000))
    google = genai.Client(api_key="none", http_options=options)
    if streamed:
        return list(google.models.generate_content_stream(model="m", contents="Hello"))
    return google.models.generate_content(model="m", contents="Hello")


def charged(agent: SyncGovernedAgent, provider: Provider, api: str, spent: Spent, streamed: bool) -> Any:
    """The receipt of one call, which is asked for as it is made."""
    allows = Allowance(
        cache_write="1h" if spent.hour else "5m" if spent.short or api.startswith("openai") else "none",
        web_searches=spent.searches, file_searches=spent.files, code_sessions=spent.containers,
        service_tier=spent.tier,
    )  # fmt: skip
    grants: list[Grant] = []
    with (
        suppress(Exception),
        agent.permit(
            "Answer", model=MODELS[api], prompt_tokens=spent.sent, max_output_tokens=spent.answered, allows=allows
        ) as grant,
    ):
        grants.append(grant)
        grant.settle(response=call(api, provider.url, streamed))
    (grant,) = grants
    assert grant.receipt is not None
    assert grant.receipt.charged_usd <= grant.receipt.reserved_usd
    return grant.receipt


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("api", "kind"), TABLE, ids=[f"{api}: {kind}" for api, kind in TABLE])
def test_what_was_billed_is_charged(
    agent: SyncGovernedAgent, provider: Provider, api: str, kind: str, streamed: bool
) -> None:
    spent = KINDS[kind][0]
    provider.tell(api, spent)
    receipt = charged(agent, provider, api, spent, streamed)
    billed = Decimal(listed_price(spent, MODELS[api], datetime.now(UTC))).scaleb(-9)
    assert (receipt.charged_usd, receipt.estimated) == (billed, False)


def cut(part: Any) -> None:
    """The answer ends at its cap."""
    for choice in part.get("choices") or ():
        choice["finish_reason"] = choice.get("finish_reason") and "length"
    if part.get("stop_reason"):
        part["stop_reason"] = "max_tokens"
    for candidate in part.get("candidates") or ():
        if "finishReason" in candidate:
            candidate["finishReason"] = "MAX_TOKENS"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", SDKS)
def test_an_answer_that_is_cut_at_its_cap_is_charged_exactly(
    agent: SyncGovernedAgent, provider: Provider, api: str, streamed: bool
) -> None:
    provider.tell(api, Spent(), cut)
    receipt = charged(agent, provider, api, Spent(), streamed)
    billed = Decimal(listed_price(Spent(), MODELS[api], datetime.now(UTC))).scaleb(-9)
    assert (receipt.charged_usd, receipt.estimated) == (billed, False)


USAGES = ("usage", "usageMetadata")


def without_usage(part: Any) -> None:
    for holder in (part, part.get("response") or {}, part.get("message") or {}):
        for name in USAGES:
            if name in holder:
                holder[name] = {"input_tokens": 0, "output_tokens": 0} if "type" in holder else None


def nonsense(part: Any) -> None:
    for holder in (part, part.get("response") or {}, part.get("message") or {}):
        for name in USAGES:
            if holder.get(name):
                holder[name] = {key: 10**12 if isinstance(value, int) else value for key, value in holder[name].items()}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("change", [without_usage, nonsense])
@pytest.mark.parametrize("api", SDKS)
def test_a_usage_that_is_missing_or_cannot_be_costs_the_reservation(
    agent: SyncGovernedAgent, provider: Provider, api: str, change: Any, streamed: bool
) -> None:
    provider.tell(api, Spent(), change)
    receipt = charged(agent, provider, api, Spent(), streamed)
    assert (receipt.charged_usd, receipt.estimated) == (receipt.reserved_usd, True)


@pytest.mark.parametrize("api", SDKS)
def test_a_stream_that_breaks_off_costs_the_reservation(agent: SyncGovernedAgent, provider: Provider, api: str) -> None:
    provider.tell(api, Spent())
    provider.breaks_after = 3
    receipt = charged(agent, provider, api, Spent(), True)
    assert (receipt.charged_usd, receipt.estimated) == (receipt.reserved_usd, True)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", SDKS)
def test_a_call_that_times_out_costs_the_reservation(
    agent: SyncGovernedAgent, provider: Provider, api: str, streamed: bool
) -> None:
    provider.hangs = True
    receipt = charged(agent, provider, api, Spent(), streamed)
    assert (receipt.charged_usd, receipt.estimated) == (receipt.reserved_usd, True)
