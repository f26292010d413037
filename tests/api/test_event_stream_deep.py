"""Viewers of events through the deaths of the servers that show them: each event once, in order, for each of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
from serving import OPERATOR, free_port

from aegis_core import Governor, Settings

pytestmark = [pytest.mark.deep, pytest.mark.timeout(900), pytest.mark.leaves("grants")]

VIEWERS, EVENTS, PORTS = 20, 1_500, 2


class Servers:
    """The shipped server, several times over the same tenant, as workers behind one address would be."""

    def __init__(self, settings: Settings) -> None:
        self._environment = {
            **os.environ, "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant, "AEGIS_OPERATOR_SECRET": OPERATOR,
        }  # fmt: skip
        self.ports = [free_port() for _ in range(PORTS)]
        self.processes = [self._started(port) for port in self.ports]

    def _started(self, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "from aegis_core.cli import main; main()", "serve", "--port", str(port)]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait(self, at: int) -> None:
        until = time.monotonic() + 120
        while True:
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.ports[at]}/api/v1/health", trust_env=False).status_code == 200:
                    return
            assert self.processes[at].poll() is None, "the server did not start"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.1)

    def kill_and_start(self, at: int) -> None:
        self.processes[at].send_signal(signal.SIGKILL)
        self.processes[at].wait()
        self.processes[at] = self._started(self.ports[at])


@contextmanager
def servers(settings: Settings) -> Iterator[Servers]:
    running = Servers(settings)
    try:
        for at in range(PORTS):
            running.wait(at)
        yield running
    finally:
        for process in running.processes:
            process.kill()
            process.wait()


async def view(ports: list[int], which: int, last: int, seen: list[int]) -> int:
    """Look on as a browser does: with what was seen last, at the next server, when one is gone. Answers how often."""
    cursor, tries = "", 0
    deadline = time.monotonic() + 400
    while not seen or seen[-1] != last:
        assert time.monotonic() < deadline, seen[-1:]
        url = f"http://127.0.0.1:{ports[(which + tries) % len(ports)]}"
        tries += 1
        headers = {"Authorization": f"Bearer {OPERATOR}"} | ({"Last-Event-ID": cursor} if cursor else {})
        with suppress(httpx.HTTPError):
            async with (
                httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60) as http,
                http.stream("GET", "/api/v1/events/stream", params={"after": "0"}) as answer,
            ):
                assert answer.status_code == 200, await answer.aread()
                async for line in answer.aiter_lines():
                    name, _, text = line.partition(": ")
                    assert name != "event", line
                    if name == "id":
                        cursor = text
                    elif name == "data":
                        seen.append(json.loads(text)["number"])
                        if seen[-1] == last:
                            return tries
        await asyncio.sleep(0.05)
    return tries


async def test_viewers_lose_nothing_when_servers_are_killed(settings: Settings, governor: Governor) -> None:
    agent = await governor.handshake("a")
    with servers(settings) as running:
        seen: list[list[int]] = [[] for _ in range(VIEWERS)]
        viewers = [asyncio.create_task(view(running.ports, which, EVENTS + 2, seen[which])) for which in range(VIEWERS)]
        kills = [EVENTS // 6, EVENTS // 3]
        for at in range(EVENTS // 2):
            granted = await agent.request(f"Work {at}", estimated_cost_usd="0.0001")
            await agent.settle(granted.grant_id or "", cost_usd="0.0001")
            if at in kills:
                while min(map(len, seen)) < at:  # noqa: ASYNC110 - till everybody is in the midst of it
                    await asyncio.sleep(0.05)
                await asyncio.to_thread(running.kill_and_start, kills.index(at))
        tries = await asyncio.gather(*viewers)
    for each in seen:
        assert each == list(range(1, EVENTS + 3))
    assert sum(tries) >= VIEWERS * 2, "nobody was cut off"
