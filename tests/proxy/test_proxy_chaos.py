"""Many clients against one budget, and kill -9 of proxy, upstream and Redis in the middle of streams.

Whatever happens, no cent beyond the budget is admitted, every call ends once, and the books in Redis agree with the
events: the same walk as after the kills of agents (`benchmarks/overshoot.py`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from payloads import MAKERS, Spent
from proxy_process import MESSAGE, commanded, running_proxy, wait_for
from rows import listed_price
from serving import free_port
from stands import PROVIDER_KEY, Handler, Provider, providing

import aegis_core
from aegis_core import Settings
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings

pytestmark = pytest.mark.concurrent

ROOT = Path(__file__).parents[2]
CLIENTS, STREAMS = 64, 12

PROVIDER = f"""
import sys, threading
sys.path[:0] = [{str(ROOT / "tests" / "proxy")!r}, {str(ROOT / "tests" / "metering")!r}]
from stands import providing
with providing() as provider:
    provider.pause = 0.1
    print(provider.url, flush=True)
    threading.Event().wait()
"""


@pytest.fixture(scope="module")
def walk() -> Any:
    spec = importlib.util.spec_from_file_location("overshoot_of_proxy", ROOT / "benchmarks" / "overshoot.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.walk


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as found:
        yield found


def environment_of(settings: Settings, url: str, home: Path) -> dict[str, str]:
    return {
        **os.environ, "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant, "ANTHROPIC_API_KEY": PROVIDER_KEY,
        "AEGIS_PROXY_UPSTREAMS": json.dumps({"anthropic": url}), "HOME": str(home),
        "AEGIS_STORE_TIMEOUT_SECONDS": "2",
    }  # fmt: skip


def walked(settings: Settings, walk: Any) -> dict[str, int]:
    """The invariants on what lies in Redis."""

    async def run() -> dict[str, int]:
        store = await open_store(settings)
        try:
            return await walk(store, settings.tenant)
        finally:
            await store.aclose()

    return asyncio.run(run())


def charges(settings: Settings) -> list[tuple[str, Decimal, Decimal, bool]]:
    """How each grant ended: kind, charged, reserved, whether estimated."""

    async def run() -> list[tuple[str, Decimal, Decimal, bool]]:
        async with aegis_core.connect(settings=settings) as governor:
            return [
                (
                    event.kind, Decimal(str(event.facts["charged_usd"])), Decimal(str(event.facts["amount_usd"])),
                    bool(event.facts.get("estimated")),
                )
                for event in await governor.latest_events(5_000)
                if event.kind in {"settled", "released", "expired", "overrun"}
            ]  # fmt: skip

    return asyncio.run(run())


def without_open(settings: Settings, walk: Any, *, sweeps: bool) -> dict[str, int]:
    """The walk, once every grant has ended.

    A walk reads one key after another, so it is made only when nobody writes: a proxy that lives may still tell of
    calls whose clients have their answers.
    """

    async def run() -> None:
        until = time.monotonic() + 60
        async with aegis_core.connect(settings=settings) as governor:
            port: Any = governor.port
            while any(budget.reserved_usd for budget in (await governor.budget("ada")).budgets):
                assert time.monotonic() < until, await governor.budget("ada")
                if sweeps:
                    await port._ledger.sweep()
                await asyncio.sleep(0.05)

    asyncio.run(run())
    found = walked(settings, walk)
    assert not found["open"]
    return found


@pytest.mark.timeout(120)
def test_64_clients_never_spend_more_than_their_dollar(
    settings: Settings, provider: Provider, walk: Any, tmp_path: Path
) -> None:
    """Every answer is as long as its cap lets it be, so that each call costs what was reserved, but for its input."""
    lock = threading.Lock()

    def act(handler: Handler, body: Any) -> None:
        spent = Spent(fresh=len(json.dumps(body["messages"])) // 4, said=body["max_tokens"])
        whole, _ = MAKERS["anthropic"](spent, body["model"])
        with lock:
            provider.billed += listed_price(spent, body["model"], datetime.now(UTC))
        handler.whole(whole)

    provider.act = act
    environment = environment_of(settings, provider.url, tmp_path)
    create = ("proxy", "keys", "create", "--agent", "ada", "--budget", "day=1", "--min-output-tokens", "64")
    key = commanded(environment, tmp_path, *create)
    ready = threading.Barrier(CLIENTS)

    def client(number: int, url: str) -> list[int]:
        found = []
        with httpx.Client(base_url=url, timeout=60, trust_env=False, headers={"x-api-key": key}) as http:
            ready.wait(60)
            for turn in range(3):
                said = [{"role": "user", "content": f"client {number}, turn {turn} " * 5}]
                found.append(http.post("/v1/messages", json=MESSAGE | {"messages": said}).status_code)
        return found

    with running_proxy(environment, tmp_path, "--workers", "2") as running, ThreadPoolExecutor(CLIENTS) as pool:
        try:
            found = [each for many in pool.map(client, range(CLIENTS), [running.url] * CLIENTS) for each in many]
            books = without_open(settings, walk, sweeps=False)
        finally:
            os.killpg(running.process.pid, signal.SIGKILL)
    assert set(found) == {200, 402}
    ends = charges(settings)
    assert len(ends) == books["admitted"] == found.count(200)
    assert Decimal("0.9") < provider.billed_usd <= 1
    assert sum(cost for _, cost, _, _ in ends) == provider.billed_usd
    assert not any(estimated for *_, estimated in ends)


@contextmanager
def streaming(url: str, key: str, begun: Callable[[], int]) -> Iterator[list[str]]:
    """A dozen clients that stream, call after call, until the block ends; how each call ended is in the list.

    The block begins when some of them are in the middle of an answer.
    """
    outcomes: list[str] = []
    stop = threading.Event()

    def client(number: int) -> None:
        with httpx.Client(base_url=url, timeout=30, trust_env=False, headers={"x-api-key": key}) as http:
            turn = 0
            while not stop.is_set():
                turn += 1
                said = [{"role": "user", "content": f"client {number}, turn {turn}"}]
                body = MESSAGE | {"stream": True, "messages": said}
                try:
                    with http.stream("POST", "/v1/messages", json=body) as answer:
                        whole = b"message_stop" in answer.read()
                    outcomes.append("whole" if answer.status_code == 200 and whole else str(answer.status_code))
                except httpx.HTTPError as error:
                    outcomes.append(type(error).__name__)
                    stop.wait(0.05)

    with ThreadPoolExecutor(STREAMS) as pool:
        clients = [pool.submit(client, number) for number in range(STREAMS)]
        try:
            until = time.monotonic() + 60
            while begun() < 2 * STREAMS:  # some have ended, and the others are on their way
                assert time.monotonic() < until, outcomes
                time.sleep(0.01)
            yield outcomes
        finally:
            stop.set()
        for each in clients:
            each.result()


@pytest.mark.timeout(120)
def test_a_proxy_that_is_killed_leaves_the_books_right(
    settings: Settings, provider: Provider, walk: Any, tmp_path: Path
) -> None:
    provider.pause = 0.1
    settings = settings.model_copy(update={"grant_seconds": 2})
    environment = environment_of(settings, provider.url, tmp_path) | {"AEGIS_GRANT_SECONDS": "2"}
    key = commanded(environment, tmp_path, "proxy", "keys", "create", "--agent", "ada", "--budget", "day=50")
    with running_proxy(environment, tmp_path, "--workers", "2") as running:
        with streaming(running.url, key, lambda: len(provider.asked)) as outcomes:
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait(30)
    assert walked(settings, walk)["open"] > 0, "none was killed in the middle of a call"
    books = without_open(settings, walk, sweeps=True)
    ends = charges(settings)
    assert len(ends) == books["admitted"] >= len(provider.asked)
    assert {kind for kind, *_ in ends} == {"settled", "expired"}
    assert all(cost == reserved and guessed for kind, cost, reserved, guessed in ends if kind == "expired")
    assert "whole" in outcomes
    assert sum(cost for _, cost, _, _ in ends) >= provider.billed_usd


@pytest.mark.timeout(120)
def test_an_upstream_that_is_killed_is_charged_what_it_may_bill(settings: Settings, walk: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROVIDER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as upstream, ExitStack() as ends_it:
        ends_it.callback(upstream.kill)
        assert upstream.stdout is not None
        url = upstream.stdout.readline().strip()
        environment = environment_of(settings, url, tmp_path)
        key = commanded(environment, tmp_path, "proxy", "keys", "create", "--agent", "ada", "--budget", "day=50")
        with running_proxy(environment, tmp_path) as running:
            with streaming(running.url, key, lambda: admitted(settings)) as outcomes:
                upstream.kill()
                until = time.monotonic() + 60
                while "502" not in outcomes:
                    assert time.monotonic() < until, outcomes
                    time.sleep(0.01)
            books = without_open(settings, walk, sweeps=False)
    ends = charges(settings)
    assert len(ends) == books["admitted"]
    broken = [(cost, reserved) for kind, cost, reserved, guessed in ends if kind == "settled" and guessed]
    assert broken, "none was killed in the middle of a call"
    assert all(cost == reserved > 0 for cost, reserved in broken)
    assert {(kind, cost) for kind, cost, _, guessed in ends if kind == "released"} == {("released", Decimal(0))}
    assert outcomes.count("whole") == sum(kind == "settled" and not guessed for kind, _, _, guessed in ends)


def admitted(settings: Settings) -> int:
    settings = settings.model_copy(update={"store_timeout_seconds": 60.0})  # the clients leave this thread little time

    async def run() -> int:
        async with aegis_core.connect(settings=settings) as governor:
            return sum(event.kind == "granted" for event in await governor.latest_events(5_000))

    return asyncio.run(run())


@pytest.mark.timeout(120)
def test_a_redis_that_is_killed_learns_later_what_was_billed(provider: Provider, walk: Any, tmp_path: Path) -> None:
    """It goes on with its data under the same address, as after a failure of its machine."""
    provider.pause = 0.1
    folder = tmp_path / "redis"
    folder.mkdir()
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes",
               "--appendfsync", "always", "--save", ""]  # fmt: skip
    # A grant whose verdict was lost with the server ends at its deadline.
    settings = private_settings(url=f"redis://127.0.0.1:{port}", tenant="chaos", grant_seconds=20)
    environment = environment_of(settings, provider.url, tmp_path) | {"AEGIS_GRANT_SECONDS": "20"}
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        key = commanded(environment, tmp_path, "proxy", "keys", "create", "--agent", "ada", "--budget", "day=50")
        with running_proxy(environment, tmp_path) as running:
            with streaming(running.url, key, lambda: len(provider.asked)) as outcomes:
                redis.kill()
                redis.wait()
                until = time.monotonic() + 60
                while "503" not in outcomes:
                    assert time.monotonic() < until, outcomes
                    time.sleep(0.01)
                redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                wait_for(port)
                seen = len(outcomes)
                while "whole" not in outcomes[seen:]:
                    assert time.monotonic() < until, outcomes
                    time.sleep(0.01)
            books = without_open(settings, walk, sweeps=True)
            ends = charges(settings)
    finally:
        redis.kill()
        redis.wait()
    assert len(ends) == books["admitted"]
    exact = [cost for kind, cost, _, guessed in ends if kind == "settled" and not guessed]
    assert len(exact) == len(provider.asked), "every call that was made was told of"
    assert sum(exact) == provider.billed_usd
