"""One decision is the same on a plain server, behind Sentinel and on a cluster, over TCP, TLS and unix sockets."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest
import redis

import aegis_core
from aegis_core import AegisDenied, ConfigurationError
from aegis_core.store.embedded import find_binary
from aegis_core.testing import private_settings

pytestmark = pytest.mark.concurrent


def free_port() -> int:
    """A free port whose cluster bus (10,000 above) is free too, both below those that connections are given."""
    while True:
        port = random.randrange(11_000, 22_000)
        with suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 10_000))
            return port


@contextmanager
def running(binary: Path, folder: Path, *options: str) -> Iterator[int]:
    """A server on a free loopback port, ended by its own process handle."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    arguments = [str(binary), *options, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen([*arguments, "--logfile", "log.txt", "--save", ""], stdin=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            wait_until(lambda: answers(client))
        yield port
    finally:
        process.kill()
        process.wait()


def wait_until(condition: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if condition():  # type: ignore[operator]
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < until, "the condition did not come true in time"
        time.sleep(0.05)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.AuthenticationError:
        return True


async def exercise(url: str) -> None:
    """The whole path: handshake, two grants within the budget, a refusal, a settlement, events."""
    async with aegis_core.connect(settings=private_settings(url=url, tenant="acme")) as governor:
        agent = await governor.handshake("a", session_budget_usd="1.00")
        async with agent.permit("Summarise", estimated_cost_usd="0.60") as grant:
            grant.settle(cost_usd="0.50")
        verdicts = await asyncio.gather(*(agent.request("Summarise", estimated_cost_usd="0.10") for _ in range(10)))
        assert sum(verdict.granted for verdict in verdicts) == 5
        with pytest.raises(AegisDenied):
            async with agent.permit("Summarise", estimated_cost_usd="0.01"):
                pytest.fail("the block ran")
        assert (await agent.budget()).remaining_budget_usd == Decimal(9)
        assert [event.kind for event in await governor.events()].count("granted") == 6


def binaries() -> list[object]:
    system = shutil.which("redis-server")
    absent = pytest.mark.skipif(system is None, reason="no redis-server on PATH")
    return [
        pytest.param(find_binary, id="embedded"),
        pytest.param(lambda: Path(system or ""), id="redis-server", marks=absent),
    ]


@pytest.mark.parametrize("binary", binaries())
async def test_a_plain_server_over_tcp_with_a_password_and_a_database(binary: object, tmp_path: Path) -> None:
    with running(binary(), tmp_path / "one", "--requirepass", "s3cret") as port:  # type: ignore[operator]
        await exercise(f"redis://:s3cret@127.0.0.1:{port}/3")


async def test_a_unix_socket(tmp_path: Path) -> None:
    with running(find_binary(), tmp_path / "one", "--unixsocket", str(tmp_path / "s")):
        await exercise(f"unix://{tmp_path / 's'}")


@pytest.mark.parametrize("binary", binaries())
async def test_a_cluster_of_three(binary: object, tmp_path: Path) -> None:
    server, options = binary(), ("--cluster-enabled", "yes")  # type: ignore[operator]
    with (
        running(server, tmp_path / "1", *options) as one,
        running(server, tmp_path / "2", *options) as two,
        running(server, tmp_path / "3", *options) as three,
    ):
        slots = {one: (0, 5460), two: (5461, 10922), three: (10923, 16383)}
        for port, (first, last) in slots.items():
            with redis.Redis(port=port) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
                client.execute_command("CLUSTER MEET", "127.0.0.1", one)
        for port in slots:
            with redis.Redis(port=port) as client:
                wait_until(lambda client=client: joined(client))
        await exercise(f"redis+cluster://127.0.0.1:{two}")


def joined(client: redis.Redis) -> bool:
    facts = client.execute_command("CLUSTER INFO")
    return facts["cluster_state"] == "ok" and facts["cluster_known_nodes"] == "3"


@pytest.mark.parametrize("binary", binaries())
async def test_sentinel_and_a_failover_in_the_middle(binary: object, tmp_path: Path) -> None:
    server = binary()  # type: ignore[operator]
    with (
        running(server, tmp_path / "m") as master,
        running(server, tmp_path / "r", "--replicaof", "127.0.0.1", str(master)) as replica,
    ):
        with redis.Redis(port=replica) as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"sentinel monitor house 127.0.0.1 {master} 1\nsentinel down-after-milliseconds house 5000\n"
            "sentinel failover-timeout house 30000\n"
        )
        with running(server, tmp_path / "s", str(config), "--sentinel") as sentinel:
            url = f"redis+sentinel://127.0.0.1:{sentinel}/house"
            async with aegis_core.connect(settings=private_settings(url=url)) as governor:
                agent = await governor.handshake("a")
                assert (await agent.request("Summarise", estimated_cost_usd="1")).granted
                with redis.Redis(port=master, single_connection_client=True) as client:
                    client.set("after", "the grant")
                    assert client.wait(1, 60_000) == 1  # what no replica has yet, a failover loses
                with redis.Redis(port=sentinel) as client, redis.Redis(port=replica) as follower:
                    wait_until(lambda: client.execute_command("SENTINEL REPLICAS", "house"))
                    wait_until(lambda: bool(client.execute_command("SENTINEL FAILOVER", "house")))
                    wait_until(lambda: follower.info("replication")["role"] == "master")
                verdict = await patiently(agent)
                assert verdict.remaining_budget_usd == Decimal(8), "the first grant was lost or charged twice"


async def patiently(agent: aegis_core.GovernedAgent) -> aegis_core.Verdict:
    """Ask with one request id until the new primary answers; refusals of the dying one decide nothing."""
    for _ in range(300):
        try:
            return await agent.request("Summarise", estimated_cost_usd="1", request_id="the-same")
        except aegis_core.StoreError:
            await asyncio.sleep(0.1)
    raise AssertionError("no primary within thirty seconds")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://127.0.0.1", "is not understood; give redis://"),
        ("redis+sentinel://127.0.0.1:26379", "lacks hosts or the service"),
        ("redis+cluster://", "lacks hosts"),
        ("redis+cluster://127.0.0.1:x", "'x' is not a port"),
    ],
)
async def test_a_url_that_cannot_be_used_says_what_is_accepted(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        async with aegis_core.connect(settings=private_settings(url=url)):
            pytest.fail("connected")


async def test_an_error_never_shows_the_password() -> None:
    url = f"redis://user:s3cret@127.0.0.1:{free_port()}"
    with pytest.raises(aegis_core.StoreError, match="cannot be reached") as caught:
        async with aegis_core.connect(settings=private_settings(url=url)):
            pytest.fail("connected")
    assert "s3cret" not in str(caught.value)
    assert "user:…@127.0.0.1" in str(caught.value)
