"""A server that forgets the functions, is read-only, full, slow, gone or damaged: a typed error, and no grant."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis

import aegis_core
from aegis_core import Governor
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.errors import AegisError, AnswerLostError, ConfigurationError, NotFoundError, StoreError
from aegis_core.settings import Settings
from aegis_core.store import layout
from aegis_core.store.embedded import find_binary
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings

pytestmark = pytest.mark.concurrent


class Server:
    """A server process of one test, on a unix socket, with its data on disk."""

    def __init__(self, binary: str, directory: Path) -> None:
        self._command = [
            *(binary, "--port", "0", "--unixsocket", str(directory / "s"), "--dir", str(directory), "--save", ""),
            *(
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
                "--logfile",
                str(directory / "log"),
                "--enable-debug-command",
                "yes",
            ),
        ]
        self.url = f"unix://{directory}/s"
        self.admin: Any = redis.Redis(unix_socket_path=str(directory / "s"), protocol=2)
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while True:
            try:
                self.admin.ping()
            except redis.RedisError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stall(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self.admin.close()


@pytest.fixture(params=["embedded", "redis-server"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    binary = str(find_binary()) if request.param == "embedded" else shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH")
    directory = Path(tempfile.mkdtemp(prefix="aegis-"))
    running = Server(binary, directory)
    try:
        yield running
    finally:
        running.close()
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def governed(server: Server, **settings: Any) -> AsyncIterator[tuple[Governor, GovernedAgent]]:
    async with aegis_core.connect(settings=_settings(server, **settings)) as governor:
        agent = await governor.handshake("a")
        assert isinstance(governor.port, ResourceGovernor)
        await governor.port.outcomes.refresh()  # so that what a test cuts off is a decision, not this
        yield governor, agent


def _settings(server: Server, **settings: Any) -> Settings:
    return private_settings(**{"url": server.url, "tenant": "t", "store_timeout_seconds": 30, **settings})


async def _spent_and_held(governor: Governor) -> tuple[Any, Any]:
    day = (await governor.budget("a")).budgets[0]
    return day.spent_usd, day.reserved_usd


async def test_forgotten_scripts_are_loaded_again(server: Server) -> None:
    async with governed(server) as (governor, agent):
        for _ in range(3):
            server.admin.function_flush()
            verdict = await agent.request("Summarise", estimated_cost_usd=1)
            assert verdict.granted
            assert verdict.grant_id
            server.admin.function_flush()
            await agent.settle(verdict.grant_id, cost_usd=1)
        assert await _spent_and_held(governor) == (3, 0)


async def test_many_calls_at_once_survive_a_flush_of_functions(server: Server) -> None:
    async with governed(server, agent_day_usd=100) as (governor, agent):
        server.admin.function_flush()
        verdicts = await asyncio.gather(*(agent.request("Summarise", estimated_cost_usd=1) for _ in range(50)))
        assert all(verdict.granted for verdict in verdicts)
        assert await _spent_and_held(governor) == (0, 50)


async def test_a_read_only_server_grants_nothing_and_is_found_again(server: Server) -> None:
    async with governed(server) as (governor, agent):
        server.admin.replicaof("127.0.0.1", 1)
        server.admin.config_set("replica-serve-stale-data", "yes")
        for _ in range(2):
            with pytest.raises(StoreError, match="read-only") as caught:
                await agent.request("Summarise", estimated_cost_usd=1)
            assert caught.value.facts["reason"] == "read_only"
        server.admin.replicaof("NO", "ONE")
        assert (await agent.request("Summarise", estimated_cost_usd=1)).granted
        assert await _spent_and_held(governor) == (0, 1)


async def test_a_full_server_grants_nothing_but_lets_grants_end(server: Server) -> None:
    async with governed(server) as (governor, agent):
        settled, released = [await agent.request("Summarise", estimated_cost_usd=1) for _ in range(2)]
        assert settled.grant_id
        assert released.grant_id
        server.admin.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match=r"out of memory.*maxmemory") as caught:
            await agent.request("Summarise", estimated_cost_usd=1)
        assert caught.value.facts["reason"] == "full"
        with pytest.raises(StoreError):
            await governor.handshake("b")
        assert (await agent.settle(settled.grant_id, cost_usd="0.5")).state == "settled"
        assert (await agent.release(released.grant_id)).state == "released"
        assert [float(amount) for amount in await _spent_and_held(governor)] == [0.5, 0]
        server.admin.config_set("maxmemory", 0)
        assert (await agent.request("Summarise", estimated_cost_usd=1)).granted


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_may_evict_is_refused_with_the_remedy(server: Server, policy: str) -> None:
    server.admin.config_set("maxmemory-policy", policy)
    with pytest.raises(ConfigurationError, match="redis-cli CONFIG SET maxmemory-policy noeviction") as caught:
        async with governed(server):
            pytest.fail("connected")
    assert caught.value.facts["eviction"] == policy
    server.admin.config_set("maxmemory-policy", "noeviction")
    async with governed(server) as (_, agent):
        assert (await agent.request("Summarise", estimated_cost_usd=1)).granted


async def test_data_of_a_newer_version_is_refused_and_left_alone(server: Server) -> None:
    server.admin.set(layout.SCHEMA_KEY, layout.SCHEMA + 1)
    with pytest.raises(ConfigurationError, match=r"newer Aegis.*pip install \. in a newer checkout"):
        async with governed(server):
            pytest.fail("connected")
    assert server.admin.keys("ae:*") == [layout.SCHEMA_KEY.encode()]


async def test_data_of_a_development_version_is_refused_and_left_alone(server: Server) -> None:
    server.admin.set(layout.SCHEMA_KEY, layout.SCHEMA - 1)
    with pytest.raises(ConfigurationError, match=r"development version .*empty database, or another AEGIS_DATA_DIR"):
        async with governed(server):
            pytest.fail("connected")
    assert server.admin.keys("ae:*") == [layout.SCHEMA_KEY.encode()]


async def test_a_session_token_holds_in_every_process(server: Server) -> None:
    """Processes share the pepper of its hash through the server, whoever came first."""
    async with governed(server) as (_, agent), aegis_core.connect(settings=_settings(server)) as elsewhere:
        verdict = await GovernedAgent(elsewhere.connection, agent.session).request("Summarise", estimated_cost_usd=1)
        assert verdict.granted


async def test_a_server_that_dies_and_comes_back_needs_no_new_client(server: Server) -> None:
    async with governed(server, store_timeout_seconds=2) as (governor, agent):
        assert (await agent.request("Summarise", estimated_cost_usd=1)).granted
        server.kill()
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                await agent.request("Summarise", estimated_cost_usd=1)
            assert caught.value.facts["reason"] == "down"
        server.start()
        assert (await agent.request("Summarise", estimated_cost_usd=1)).granted
        assert await _spent_and_held(governor) == (0, 2)


async def test_a_server_that_hangs_is_an_error_in_bounded_time(server: Server) -> None:
    async with governed(server, store_timeout_seconds=1) as (_, agent):
        await agent.request("Summarise", estimated_cost_usd=1)
        server.stall()
        try:
            started = time.monotonic()
            with pytest.raises(StoreError) as caught:
                await agent.request("Summarise", estimated_cost_usd=1, request_id="hung")
            assert caught.value.facts["reason"] == "slow"
            assert time.monotonic() - started < 20
        finally:
            server.go_on()
        again = await agent.request("Summarise", estimated_cost_usd=1, request_id="hung")
        assert again.granted
        assert (await agent.budget()).budgets[0].reserved_usd == 2, "held once, whether or not the first try arrived"


async def test_a_pause_shorter_than_the_timeout_is_waited_out(server: Server) -> None:
    async with governed(server) as (_, agent):
        server.admin.execute_command("CLIENT", "PAUSE", 300, "ALL")
        assert (await agent.request("Summarise", estimated_cost_usd=1)).granted


class Cut:
    """A proxy that can swallow answers: the request arrives, the reply does not, and the line goes dead."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.swallow = 0
        self.cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[Any]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self._handlers.add(task)
        there, to_server = await asyncio.open_unix_connection(self._target)
        self._writers |= {writer, to_server}
        await asyncio.gather(self._up(reader, to_server), self._down(there, writer), return_exceptions=True)
        for end in (writer, to_server):
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    async def aclose(self) -> None:
        for end in self._writers:
            end.close()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _up(self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            to_server.write(data)
        to_server.close()

    async def _down(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(65_536):
            if self.swallow and not data.startswith((b"+OK", b"-")):
                self.swallow -= 1
                self.cuts += 1
                break
            writer.write(data)
        writer.close()


@asynccontextmanager
async def proxied(server: Server) -> AsyncIterator[tuple[Cut, str]]:
    path = server.url.removeprefix("unix://")
    cut = Cut(path)
    listening = await asyncio.start_unix_server(cut.handle, path + "p")
    try:
        yield cut, server.url + "p"
    finally:
        listening.close()
        await cut.aclose()


async def test_a_decision_whose_answer_was_lost_is_asked_again_and_charged_once(server: Server) -> None:
    async with proxied(server) as (cut, url), governed(server, url=url) as (governor, agent):
        for number in range(1, 4):
            cut.swallow = 1
            verdict = await agent.request("Summarise", estimated_cost_usd=1)
            assert verdict.granted
            assert (cut.cuts, cut.swallow) == (number, 0)
            assert await _spent_and_held(governor) == (0, number)
        assert [event.kind for event in await governor.events(limit=1_000)].count("granted") == 3


async def test_a_cut_line_while_outcomes_are_read_costs_no_decision(server: Server) -> None:
    async with proxied(server) as (cut, url), aegis_core.connect(settings=_settings(server, url=url)) as governor:
        agent = await governor.handshake("a")
        cut.swallow = 1
        assert (await agent.request("Summarise", estimated_cost_usd=1)).granted
        assert cut.cuts == 1


async def test_a_settlement_whose_answer_was_lost_is_booked_once(server: Server) -> None:
    async with proxied(server) as (cut, url), governed(server, url=url) as (governor, agent):
        verdict = await agent.request("Summarise", estimated_cost_usd=1)
        assert verdict.grant_id
        cut.swallow = 1
        receipt = await agent.settle(verdict.grant_id, cost_usd=2)
        assert (receipt.charged_usd, receipt.repeated) == (2, True)
        assert await _spent_and_held(governor) == (2, 0)


async def test_answers_lost_again_and_again_are_an_error_that_does_not_claim_to_know(server: Server) -> None:
    async with (
        proxied(server) as (cut, url),
        governed(server, url=url, store_timeout_seconds=2) as (governor, agent),
    ):
        await agent.request("Summarise", estimated_cost_usd=1)
        cut.swallow = 10_000
        with pytest.raises(AnswerLostError, match="whether request lost was decided is not known") as caught:
            await agent.request("Summarise", estimated_cost_usd=1, request_id="lost")
        assert (caught.value.facts["reason"], caught.value.facts["request_id"]) == ("down", "lost")
        assert cut.cuts > 2, "it is asked again within its deadline"
        cut.swallow = 0
        assert (await agent.request("Summarise", estimated_cost_usd=1, request_id="lost")).granted
        assert await _spent_and_held(governor) == (0, 2)


async def test_many_decisions_in_flight_on_a_cut_line_are_each_charged_once(server: Server) -> None:
    async with proxied(server) as (cut, url), governed(server, url=url, agent_day_usd=1_000) as (governor, agent):
        cut.swallow = 1
        verdicts = await asyncio.gather(*(agent.request("Summarise", estimated_cost_usd=1) for _ in range(40)))
        assert cut.cuts == 1
        assert all(verdict.granted for verdict in verdicts)
        assert len({verdict.grant_id for verdict in verdicts}) == 40
        assert await _spent_and_held(governor) == (0, 40)


@pytest.mark.parametrize("name", ["t", "a:a", "d", "e", "c", "b:k:llm_tokens"])
async def test_a_damaged_key_grants_nothing_and_leaves_nothing_half_written(server: Server, name: str) -> None:
    async with governed(server) as (governor, agent):
        await governor.set_budget("resource", "llm_tokens", "day", 17)  # a question may hold half of it
        before = _image(server, name)
        key = layout.key("t", name)
        server.admin.rename(key, "kept")
        server.admin.geoadd(key, (0, 0, "x")) if name != "d" else server.admin.set(key, "x")
        with pytest.raises(AegisError) as caught:
            await agent.request("Summarise", estimated_cost_usd="8.5", request_id="damaged")
        assert isinstance(caught.value, StoreError | NotFoundError)
        server.admin.rename("kept", key)
        after = _image(server, name)
        for left in (
            "d",
            "c",
        ):  # a deadline of nothing, which the next sweep drops; the number of an event that was not
            after.pop(layout.key("t", left).encode(), None)
        assert {name: blob for name, blob in before.items() if name in after} == after
        verdict = await agent.request("Summarise", estimated_cost_usd="0.5", request_id="mended")
        assert verdict.granted
        assert await _spent_and_held(governor) == (0, verdict.reserved_usd)


@pytest.mark.parametrize("name", ["d", "e", "c", "u"])
async def test_a_damaged_key_does_not_lose_the_money_of_a_settlement(server: Server, name: str) -> None:
    async with governed(server) as (governor, agent):
        verdict = await agent.request("Summarise", estimated_cost_usd=1)
        assert verdict.grant_id
        day = (datetime.now(ZoneInfo(_settings(server).timezone)).date() - date(1970, 1, 1)).days
        key = layout.key("t", f"u:{day}" if name == "u" else name)
        if name != "u":
            server.admin.rename(key, "kept")
        server.admin.set(key, "x")
        with pytest.raises(StoreError):
            await agent.settle(verdict.grant_id, cost_usd="0.25")
        server.admin.delete(key)
        if name != "u":
            server.admin.rename("kept", key)
        receipt = await agent.settle(verdict.grant_id, cost_usd="0.25")
        assert (receipt.state, float(receipt.charged_usd), receipt.repeated) == ("settled", 0.25, False)
        assert [float(amount) for amount in await _spent_and_held(governor)] == [0.25, 0]


def _image(server: Server, name: str) -> dict[bytes, Any]:
    return {key: server.admin.dump(key) for key in server.admin.keys("ae:*") if not key.endswith(f":{name}".encode())}


async def test_a_cancelled_command_is_cancelled_wherever_it_was(settings: Settings) -> None:
    store = await open_store(settings)

    async def for_ever() -> None:
        while True:
            await store.command("PING")

    try:
        for steps in [*range(40)] * 5:
            task = asyncio.create_task(for_ever())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=60)
            assert done, f"after {steps} steps the cancellation was lost"
            assert task.cancelled()
    finally:
        await store.aclose()
