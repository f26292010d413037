"""Redis answers nothing while it decides: what is said then, and that a verdict nobody heard of costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from machines import Machine, machine
from serving import serving

import aegis_core
from aegis_core import AnswerLostError, Governor, StoreError
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.store.verbs import Authorize, Withdraw
from aegis_core.testing import private_settings

PATIENCE = 2.0
WISH = {"task_intent": "Rent", "resource_type": "api_call", "estimated_cost_usd": 2}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("lost")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def empty(redis_server: Machine) -> None:
    redis_server.client.flushall()


@asynccontextmanager
async def governed(server: Machine, **values: Any) -> AsyncGenerator[tuple[Governor, ResourceGovernor]]:
    settings = private_settings(url=server.url, store_timeout_seconds=PATIENCE, **values)
    async with aegis_core.connect(settings=settings) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        await governor.port.outcomes.refresh()
        yield governor, governor.port


async def day_of(governor: Governor) -> tuple[int, int]:
    day = (await governor.budget("a")).budgets[0]
    return int(day.spent_usd), int(day.reserved_usd)


async def comes_true(condition: Any, expected: object) -> None:
    async with asyncio.timeout(60):
        while await condition() != expected:  # noqa: ASYNC110 - it is asked of the server
            await asyncio.sleep(0.02)


async def kinds(governor: Governor) -> list[str]:
    return [event.kind for event in await governor.events() if event.kind in {"granted", "released", "expired"}]


async def test_what_nobody_heard_of_is_taken_back_when_redis_answers_again(redis_server: Machine) -> None:
    async with governed(redis_server) as (governor, _):
        agent = await governor.handshake("a")
        await agent.release((await agent.request("Rent", estimated_cost_usd=2)).grant_id or "")
        redis_server.stop()
        began = asyncio.get_running_loop().time()
        try:
            with pytest.raises(AnswerLostError) as caught:
                await agent.request("Rent", estimated_cost_usd=2)
            took = asyncio.get_running_loop().time() - began
        finally:
            redis_server.go_on()
        assert took < 1.3 * PATIENCE + 2
        named = caught.value.facts["request_id"]
        assert caught.value.message == (
            f"Redis did not answer within 2 s; whether request {named} was decided is not known. Ask again with this "
            "request_id: that rejoins it, and is charged once."
        )
        assert "no decision" not in caught.value.message
        await comes_true(lambda: day_of(governor), (0, 0))
        await comes_true(lambda: _taken_back(governor), expected=True)
        again = await agent.request("Rent", estimated_cost_usd=2, request_id=named)
        assert again.granted
        assert await day_of(governor) == (0, 2)


async def _taken_back(governor: Governor) -> bool:
    """Redis read the request and the withdrawal, in either order."""
    found = await kinds(governor)
    return found[:2] == ["granted", "released"] and found[2:] in ([], ["granted", "released"])


async def test_over_http_the_request_is_named_and_taken_back(redis_server: Machine) -> None:
    settings = private_settings(url=redis_server.url, store_timeout_seconds=PATIENCE)
    with serving(settings) as url:
        async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60, trust_env=False) as client:
            await client.post("/handshake", json={"agent_id": "a"})
            await client.post("/request-permission", json={"agent_id": "a", **WISH})
            redis_server.stop()
            try:
                answer = await client.post("/request-permission", json={"agent_id": "a", **WISH})
                second = await client.post("/request-permission", json={"agent_id": "a", **WISH})
            finally:
                redis_server.go_on()
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (503, "answer_lost")
            assert problem["request_id"] in problem["detail"]
            assert answer.headers["retry-after"] == "1"
            assert (second.status_code, second.json()["code"]) == (503, "store_unavailable")
            assert "no decision was made" in second.json()["detail"]

            async def told() -> list[str]:
                events = (await client.get("/events")).json().get("events", [])
                return [event["kind"] for event in events if event["kind"] in {"granted", "released"}]

            async def reserved() -> tuple[float, bool]:
                found = (await client.get("/budget/a")).json()
                if "budgets" not in found:  # it comes back
                    return 0, False
                return found["budgets"][0]["reserved_usd"], await told() in (
                    ["granted"],
                    ["granted", "granted", "released"],
                )

            await comes_true(reserved, (2.0, True))
            same = {"agent_id": "a", "request_id": problem["request_id"], **WISH}
            assert (await client.post("/request-permission", json=same)).json()["status"] == "GRANTED"
        async with aegis_core.connect(url, settings=private_settings()) as remote:
            agent = await remote.handshake("b")
            assert (await agent.request("Rent", estimated_cost_usd=2)).granted
            redis_server.stop()
            try:
                with pytest.raises(AnswerLostError) as caught:
                    await agent.request("Rent", estimated_cost_usd=2, request_id="mine")
            finally:
                redis_server.go_on()
            assert caught.value.facts["request_id"] == "mine"


async def test_whoever_gives_up_waiting_is_charged_nothing(redis_server: Machine) -> None:
    async with governed(redis_server) as (governor, _):
        agent = await governor.handshake("a")
        await agent.release((await agent.request("Rent", estimated_cost_usd=2)).grant_id or "")
        redis_server.stop()
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await agent.request("Rent", estimated_cost_usd=2)
        finally:
            redis_server.go_on()
        await comes_true(lambda: day_of(governor), (0, 0))
        await comes_true(lambda: _taken_back(governor), expected=True)


async def test_what_only_reads_says_that_nothing_was_decided(redis_server: Machine) -> None:
    async with governed(redis_server) as (governor, _):
        agent = await governor.handshake("a")
        redis_server.stop()
        try:
            for said in ("did not answer within 2 s; no decision", "cannot be reached .*; no decision"):
                with pytest.raises(StoreError, match=said) as caught:  # the first asks for its session
                    await agent.request("Rent", estimated_cost_usd=2)
                assert not isinstance(caught.value, AnswerLostError)
        finally:
            redis_server.go_on()


async def test_a_store_that_is_gone_was_never_asked(tmp_path: Path) -> None:
    with machine(tmp_path / "gone") as server:
        async with governed(server) as (governor, _):
            agent = await governor.handshake("a")
            server.end()
            with pytest.raises(StoreError):  # the first may have been sent before it was known
                await agent.request("Rent", estimated_cost_usd=2)
            with pytest.raises(StoreError, match=r"cannot be reached .* no decision was made") as caught:
                await agent.request("Rent", estimated_cost_usd=2)
            assert not isinstance(caught.value, AnswerLostError)


async def test_what_is_asked_again_ends_by_the_deadline_that_began_when_it_was_first_sent(tmp_path: Path) -> None:
    with machine(tmp_path / "silent") as server:
        async with governed(server) as (governor, _):
            agent = await governor.handshake("a")
            await agent.request("Rent", estimated_cost_usd=2)
            server.stop()
            began = asyncio.get_running_loop().time()
            asking = asyncio.create_task(agent.request("Rent", estimated_cost_usd=2))
            await asyncio.sleep(0.75 * PATIENCE)
            server.end()  # so the connection closes, late
            with pytest.raises(AnswerLostError):
                await asking
            assert asyncio.get_running_loop().time() - began < 1.3 * PATIENCE


async def asked(port: ResourceGovernor, monkeypatch: pytest.MonkeyPatch, agent: Any) -> Authorize:
    """A request as it was sent."""
    orders: list[Authorize] = []
    authorize = port._ledger.authorize

    async def seen(order: Authorize) -> tuple[str, Any]:
        orders.append(order)
        return await authorize(order)

    with monkeypatch.context() as patch:
        patch.setattr(port._ledger, "authorize", seen)
        await agent.request("Rent", estimated_cost_usd=2)
    return orders[-1]


def withdrawal(order: Authorize) -> Withdraw:
    said = {name: getattr(order, name) for name in Withdraw._fields}
    return Withdraw(**said)


async def test_what_another_call_was_answered_with_is_not_taken_back(
    redis_server: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with governed(redis_server) as (governor, port):
        order = await asked(port, monkeypatch, await governor.handshake("a"))
        again = order._replace(attempt=order.attempt + 1)
        word, record = await port._ledger.authorize(again)
        assert (word, record.attempt) == ("OLD", 0)
        for one in (order, again, order._replace(attempt=0)):
            await port._ledger.withdraw(withdrawal(one))
        assert await day_of(governor) == (0, 2)
        assert await kinds(governor) == ["granted"]


async def test_a_repeat_of_the_same_call_can_be_taken_back(
    redis_server: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with governed(redis_server) as (governor, port):
        order = await asked(port, monkeypatch, await governor.handshake("a"))
        assert (await port._ledger.authorize(order))[0] == "OLD"
        for _ in range(2):
            await port._ledger.withdraw(withdrawal(order))
        assert await day_of(governor) == (0, 0)
        assert await kinds(governor) == ["granted", "released"]


async def test_a_request_that_comes_after_its_withdrawal_reserves_nothing(
    redis_server: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with governed(redis_server) as (governor, port):
        order = await asked(port, monkeypatch, await governor.handshake("a"))
        late = order._replace(id=order.id[::-1], request_id="late")
        await port._ledger.withdraw(withdrawal(late))
        word, record = await port._ledger.authorize(late)
        assert (word, record.state, record.code, record.charged) == ("OLD", "L", "withdrawn", 0)
        assert await day_of(governor) == (0, 2)
        word, record = await port._ledger.authorize(late._replace(attempt=late.attempt + 1))
        assert (word, record.state) == ("NEW", "G")
        assert await day_of(governor) == (0, 4)
        assert await kinds(governor) == ["granted", "granted"]


async def test_a_withdrawal_after_the_charge_gives_it_back_once(
    redis_server: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with governed(redis_server, grant_seconds=1) as (governor, port):
        order = await asked(port, monkeypatch, await governor.handshake("a"))
        await comes_true(lambda: day_of(governor), (2, 0))
        (expired,) = [event for event in await governor.events() if event.kind == "expired"]
        assert expired.facts["nothing_heard"] is True
        for _ in range(2):
            await port._ledger.withdraw(withdrawal(order))
        assert await day_of(governor) == (0, 0)
        assert await kinds(governor) == ["granted", "expired", "released"]


async def test_a_withdrawal_needs_the_token_of_its_request(
    redis_server: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with governed(redis_server) as (governor, port):
        order = await asked(port, monkeypatch, await governor.handshake("a"))
        forged = withdrawal(order)._replace(id=order.id[::-1], token="0" * 64)
        with pytest.raises(aegis_core.AuthError):
            await port._ledger.withdraw(forged)
        assert redis_server.client.exists(f"ae:{{{port.tenant}}}:r:{forged.id}") == 0
