"""Prices over HTTP: where they stand, how old they may be, and pages that say nothing that can be counted with."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aegis_core.chains.book import Chains
from aegis_core.chains.configuration import read_chains
from aegis_core.chains.node import MOST_BYTES
from aegis_core.chains.price_pages import AGAIN_SECONDS, PricePage, PricePages
from aegis_core.protocol.errors import ChainError, ConfigurationError

NOW = 1_800_000_000.0


class Pages(ThreadingHTTPServer):
    """Says whatever it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.content, self.headers, self.read = 200, b"", {}, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/prices?key=secret"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        pages: Any = self.server
        pages.read += 1
        self.send_response(pages.status)
        for name, value in {"Content-Length": str(len(pages.content)), **pages.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(pages.content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def pages() -> Iterator[Pages]:
    with Pages() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def said(pages: Pages, content: object, now: float = NOW, **page: Any) -> Decimal:
    pages.content = content if isinstance(content, bytes) else json.dumps(content).encode()
    prices = PricePages()
    try:
        return await prices.usd(PricePage(pages.url, **{"value": "/usd", **page}), "eip155:1", now)
    finally:
        await prices.aclose()


@pytest.mark.parametrize(
    ("content", "page", "usd"),
    [
        (b'{"usd": 0.029183746100000003}', {}, "0.029183746100000003"),
        ({"usd": "3012.5"}, {}, "3012.5"),
        ({"usd": 3}, {}, "3"),
        ({"data": [{"a/b~c": {"usd": 7}}]}, {"value": "/data/0/a~1b~0c/usd"}, "7"),
        ({"usd": 1, "at": int(NOW) - 299}, {"time": "/at"}, "1"),
        ({"usd": 1, "at": (int(NOW) - 299) * 1000}, {"time": "/at"}, "1"),
        ({"usd": 1, "at": str(int(NOW))}, {"time": "/at"}, "1"),
        ({"usd": 1, "at": "2027-01-15T08:00:00Z"}, {"time": "/at"}, "1"),
        ({"usd": 1, "at": "2027-01-15T09:00:00+01:00"}, {"time": "/at"}, "1"),
    ],
)
async def test_a_page_says_a_price(pages: Pages, content: object, page: dict[str, Any], usd: str) -> None:
    assert await said(pages, content, **page) == Decimal(usd)


@pytest.mark.parametrize(
    ("content", "page", "problem"),
    [
        ({"usd": 0}, {}, "says no price at /usd"),
        ({"usd": -1}, {}, "says no price at /usd"),
        ({"usd": True}, {}, "says no price at /usd"),
        ({"usd": "NaN"}, {}, "says no price at /usd"),
        (b'{"usd": NaN}', {}, "says no price at /usd"),
        (b'{"usd": 1e999999}', {}, "says no price at /usd"),
        ({"usd": "1e-999999"}, {}, "says no price at /usd"),
        ({"usd": 10**9 + 1}, {}, "says no price at /usd"),
        ({"usd": "1" * 5_000}, {}, "says no price at /usd"),
        ({"usd": "1_000"}, {}, "says no price at /usd"),
        ({"usd": "\u0661"}, {}, "says no price at /usd"),
        (b'{"usd": 1, "usd": 2}', {}, "did not answer with JSON"),
        ({"eur": 1}, {}, "says no price at /usd"),
        ([1], {"value": "/1"}, "says no price at /1"),
        ({"usd": 1}, {"time": "/at"}, "says no time at /at"),
        ({"usd": 1, "at": "yesterday"}, {"time": "/at"}, "says no time at /at"),
        ({"usd": 1, "at": NOW - 301}, {"time": "/at"}, "says a price that is 301 s old"),
        ({"usd": 1, "at": NOW + 60}, {"time": "/at"}, "says a price that is -60 s old"),
        (b"<html>", {}, "did not answer with JSON"),
        (b"[" * 100_000, {}, "did not answer with JSON"),
        (b" " * (MOST_BYTES + 1), {}, "answered with more than"),
    ],
)
async def test_what_is_no_price_is_not_believed(
    pages: Pages, content: object, page: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ChainError, match=problem) as refused:
        await said(pages, content, **page)
    assert refused.value.facts["reason"] == "unpriced"
    assert "secret" not in str(refused.value), "a URL may hold a key"


async def test_a_page_that_fails_is_none(pages: Pages) -> None:
    pages.status = 500
    with pytest.raises(ChainError, match="answered with HTTP 500"):
        await said(pages, {"usd": 1})
    pages.status, pages.headers = 302, {"Location": "http://127.0.0.1:1/"}
    with pytest.raises(ChainError, match="answered with HTTP 302"):
        await said(pages, {"usd": 1})
    pages.status, pages.headers = 200, {"Content-Encoding": "gzip"}
    with pytest.raises(ChainError, match="packed its answer"):
        await said(pages, {"usd": 1})


async def test_it_is_read_once_in_a_while_and_believed_while_it_is_young(pages: Pages) -> None:
    prices, page = PricePages(), PricePage(pages.url, "/usd", "/at", 60)
    pages.content = json.dumps({"usd": 2, "at": NOW}).encode()
    for later in (0, AGAIN_SECONDS - 1):
        assert await prices.usd(page, "eip155:1", NOW + later) == 2
    assert pages.read == 1
    pages.status = 503
    assert await prices.usd(page, "eip155:1", NOW + 60) == 2, "what it said is young enough"
    for later in (61, 62, 69):  # a fault is remembered: who asks next does not wait for the same again
        with pytest.raises(ChainError, match="answered with HTTP 503"):
            await prices.usd(page, "eip155:1", NOW + later)
    assert pages.read == 2
    pages.status = 200
    pages.content = json.dumps({"usd": 3, "at": NOW + 70}).encode()
    assert await prices.usd(page, "eip155:1", NOW + 70) == 3
    await prices.aclose()


async def test_an_operator_names_pages_for_coins_and_tokens(pages: Pages, tmp_path: Path) -> None:
    pages.content = json.dumps({"mon": 0.03, "usdc": 0.9997}).encode()
    file = tmp_path / "chains.json"
    token = {"address": "0x" + "11" * 20, "decimals": 6, "http": {"url": pages.url, "value": "/usdc"}}
    stated = {"rpc": ["http://127.0.0.1:1"], "http": {"url": pages.url, "value": "/mon"}, "tokens": {"USDC": token}}
    file.write_text(json.dumps({"monad": stated}))
    chains = Chains(read_chains(file))
    chain = chains.find("monad")
    assert await chain.usd(NOW) == Decimal("0.03")
    assert await chain.price_of(chain.setup.tokens[0], NOW) == Decimal("0.9997")
    await chains.aclose()
    for broken, problem in (
        ({**stated, "usd": "1"}, "give one of usd, feed and http"),
        ({**stated, "http": {"url": "ftp://x", "value": "/a"}}, "http.url: is no URL"),
        ({**stated, "http": {"url": pages.url, "value": "mon"}}, "http.value"),
    ):
        file.write_text(json.dumps({"monad": broken}))
        with pytest.raises(ConfigurationError, match=problem):
            read_chains(file)
