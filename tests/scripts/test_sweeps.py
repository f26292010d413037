"""Overdue grants end a few per call, and all of them before anybody is refused for what they hold."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from aegis_core import Governor, Settings
from aegis_core.store import layout
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock, private_settings, virtual_governor

pytestmark = pytest.mark.leaves("grants", "questions")

START = datetime(2026, 3, 27, 12, tzinfo=UTC)


@pytest.fixture
def settings(server_url: str, tenant: str) -> Settings:
    return private_settings(
        url=server_url,
        tenant=tenant,
        timezone="UTC",
        agent_day_usd=1_000,
        tenant_day_usd=1_000,
        max_open_grants=100_000,
        max_open_approvals=100_000,
    )


async def _overdue(governor: Governor, clock: FakeClock, count: int, cost: str, **how: object) -> None:
    agent = await governor.handshake("slow")
    for number in range(count):
        verdict = await agent.request("Summarise", estimated_cost_usd=cost, request_id=f"q{number}", **how)
        assert verdict.status != "REJECTED"
    await clock.advance(minutes=11)


async def _left(store: Store, tenant: str) -> int:
    return len([name for name in await store.command("ZRANGE", layout.key(tenant, "d"), 0, -1) if name[:1] == b"r"])


@pytest.mark.parametrize("count", [3, 5, 203, 204, 205, 300, 404, 405, 650])
async def test_nobody_is_refused_for_money_that_only_the_overdue_hold(
    settings: Settings, tenant: str, count: int
) -> None:
    async with virtual_governor(settings, start=START) as (governor, clock, store):
        all_of_it = count * Decimal("0.005")
        await governor.set_budget("tenant", "tenant", "day", 2 * all_of_it)  # questions may hold half of it
        await _overdue(governor, clock, count, "0.005", confidence=0.1)
        await governor.set_budget("tenant", "tenant", "day", all_of_it)
        verdict = await (await governor.handshake("a")).request(
            "Summarise", estimated_cost_usd=all_of_it, request_id="q"
        )
        assert verdict.status == "GRANTED", verdict.reason
        assert await _left(store, tenant) == 1
        kinds = [event.kind for event in await governor.events(limit=10_000)]
        assert (kinds.count("timed_out"), kinds.count("granted")) == (count, 1)


@pytest.mark.parametrize("count", [4, 5, 300, 405])
async def test_no_question_is_refused_for_questions_that_are_overdue(settings: Settings, count: int) -> None:
    async with virtual_governor(settings, start=START) as (governor, clock, _):
        all_of_it = count * Decimal("0.005")
        await governor.set_budget("tenant", "tenant", "day", 2 * all_of_it)
        await _overdue(governor, clock, count, "0.005", confidence=0.1)
        agent = await governor.handshake("slow")
        asked = await agent.request("Summarise", estimated_cost_usd=all_of_it, confidence=0.1, request_id="q")
        assert asked.status == "PENDING", asked.reason
        more = await agent.request("Summarise", estimated_cost_usd="0.000000001", confidence=0.1, request_id="r")
        assert (more.status, more.code) == ("REJECTED", "too_much_pending")


@pytest.mark.parametrize("count", [5, 205, 300, 405])
async def test_nobody_is_refused_for_open_grants_that_are_overdue(server_url: str, tenant: str, count: int) -> None:
    settings = private_settings(
        url=server_url,
        tenant=tenant,
        timezone="UTC",
        agent_day_usd=1_000,
        tenant_day_usd=1_000,
        max_open_grants=count,
    )
    async with virtual_governor(settings, start=START) as (governor, clock, _):
        await _overdue(governor, clock, count, "0.1")
        agent = await governor.handshake("slow")
        assert (await agent.request("Summarise", estimated_cost_usd=1, request_id="q")).status == "GRANTED"


async def test_a_call_that_fits_ends_only_a_few_others(settings: Settings, tenant: str) -> None:
    """Whoever comes does a bounded share of the work, so no single call becomes slow."""
    async with virtual_governor(settings, start=START) as (governor, clock, store):
        await _overdue(governor, clock, 20, "0.1")
        agent = await governor.handshake("a")
        for number in range(1, 8):
            assert (await agent.request("Summarise", estimated_cost_usd=0, request_id=f"z{number}")).granted
            assert await _left(store, tenant) == max(0, 20 - 4 * number) + number


async def test_ended_records_are_kept_for_the_idempotency_time_and_open_ones_without_limit(
    settings: Settings, tenant: str
) -> None:
    async with virtual_governor(settings, start=START) as (governor, _, store):
        agent = await governor.handshake("a")
        verdict = await agent.request("Summarise", estimated_cost_usd=1, request_id="q")
        assert verdict.grant_id
        key = layout.key(tenant, "r:" + verdict.grant_id.removeprefix("gr_"))
        assert await store.command("TTL", key) == -1
        await agent.extend(verdict.grant_id, 1_200)
        assert await store.command("TTL", key) == -1
        await agent.settle(verdict.grant_id, cost_usd=1)
        assert 3_590 < await store.command("TTL", key) <= 3_600


async def test_a_withdrawn_question_is_no_grant(settings: Settings) -> None:
    """Whoever asks again with the same id, or still waits for the answer, must not go on."""
    async with virtual_governor(settings, start=START) as (governor, _, _store):
        agent = await governor.handshake("a")
        asked = await agent.request("Summarise", estimated_cost_usd=1, confidence=0.1, request_id="q")
        assert asked.status == "PENDING"
        assert asked.grant_id
        await agent.release(asked.grant_id)
        again = await agent.request("Summarise", estimated_cost_usd=1, confidence=0.1, request_id="q")
        assert (again.status, again.code, again.granted) == ("REJECTED", "withdrawn", False)
        assert again.granted_at is None
        assert "withdrawn before anybody approved it" in again.reason


@pytest.mark.parametrize("others", [2, 20, 60])
async def test_a_question_waits_for_no_sweep_though_others_come_overdue_all_the_time(
    settings: Settings, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the caller swept may be behind again when it asks again, so the decision itself ends what is in its way."""
    settings = settings.model_copy(update={"max_open_approvals": 3})
    async with virtual_governor(settings, start=START) as (governor, clock, _):

        async def in_vain() -> bool:
            return False

        for name in [*(f"other-{number}" for number in range(others)), "last"]:
            agent = await governor.handshake(name)
            for _ in range(3):
                verdict = await agent.request("Summarise", estimated_cost_usd="0.001", confidence=0.1)
                assert verdict.code == "approval_needed"
            await clock.advance(milliseconds=1)  # the last one's are ended last
        await clock.advance(minutes=11)
        monkeypatch.setattr(governor.port._ledger, "sweep", in_vain)
        verdict = await agent.request("Summarise", estimated_cost_usd="0.001", confidence=0.1)
        assert verdict.code == "approval_needed"
