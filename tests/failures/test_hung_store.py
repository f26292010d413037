"""Redis accepts connections and answers nothing: each door says so in time, and many wait no longer than one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest
from machines import Machine, machine
from serving import OPERATOR, serving

import aegis_core
from aegis_core import StoreError
from aegis_core.testing import private_settings

PATIENCE, BY_DEFAULT = 2.0, 5.0
BOUND = 1.3
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}
WISH = {"agent_id": "a", "task_intent": "Rent", "resource_type": "api_call", "estimated_cost_usd": "0.01"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("hung")) as opened:
        yield opened


@pytest.fixture
def keyed(request: pytest.FixtureRequest) -> bool:
    return request.param


async def _timed(asking: asyncio.Task[httpx.Response]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return await asking, time.monotonic() - began


@pytest.mark.deep
async def test_thirty_requests_over_http_are_all_answered_in_time(server: Machine) -> None:
    with serving(private_settings(url=server.url)) as url:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as http:
            await http.post("/api/v1/handshake", json={"agent_id": "a"})
            asked = [http.post("/api/v1/request-permission", json=WISH) for _ in range(30)]
            assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
            server.stop()
            try:
                for _ in range(2):
                    tasks = [asyncio.create_task(http.post("/api/v1/request-permission", json=WISH)) for _ in range(30)]
                    found = await asyncio.gather(*map(_timed, tasks))
                    assert {answer.status_code for answer, _ in found} == {503}
                    assert max(took for _, took in found) < BOUND * BY_DEFAULT
                assert max(took for _, took in found) < BY_DEFAULT / 2, "known to hang, it is not waited for again"
            finally:
                server.go_on()
            await _comes_back(http)


async def _comes_back(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while (await http.post("/api/v1/request-permission", json=WISH)).status_code != 200:  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("keyed", [False, True], indirect=True)
async def test_who_watches_the_server_hears_within_a_second(server: Machine, keyed: bool) -> None:
    server.client.flushall()
    with serving(private_settings(url=server.url, store_timeout_seconds=30)) as url:
        async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            if keyed:
                made = {"role": "agent", "name": "c"}
                (await http.post("/api/v1/keys", json=made, headers=AS_OPERATOR)).raise_for_status()
                assert (await http.get("/metrics")).status_code == 401
            assert "aegis_store_up 1.0" in (await http.get("/metrics", headers=AS_OPERATOR)).text
            server.stop()
            try:
                for path in ("/api/v1/ready", "/api/v1/ready?verbose=1", "/metrics"):
                    task = asyncio.create_task(http.get(path, headers=AS_OPERATOR))
                    answer, took = await _timed(task)
                    assert took < 1, path
                    if path == "/metrics":
                        assert "aegis_store_up 0.0" in answer.text
                    else:
                        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
            finally:
                server.go_on()


async def test_many_of_the_library_reconnect_once(server: Machine) -> None:
    server.client.flushall()
    settings = private_settings(url=server.url, store_timeout_seconds=PATIENCE)
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("a")
        await agent.request("Rent", estimated_cost_usd="0.01")
        before = server.client.info("stats")["total_connections_received"]
        server.stop()
        try:
            began = time.monotonic()
            asked = [agent.request("Rent", estimated_cost_usd="0.01") for _ in range(200)]
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(each, StoreError) for each in found)
            assert time.monotonic() - began < BOUND * PATIENCE
            began = time.monotonic()
            with pytest.raises(StoreError):
                await agent.request("Rent", estimated_cost_usd="0.01")
            assert time.monotonic() - began < PATIENCE / 2, "known to hang, it is not waited for again"
        finally:
            server.go_on()
        async with asyncio.timeout(60):
            while True:
                try:
                    await agent.request("Rent", estimated_cost_usd="0.01")
                    break
                except StoreError:
                    await asyncio.sleep(0.02)
        after = server.client.info("stats")["total_connections_received"]
        assert after - before < 20, "200 callers make one connection between them"
