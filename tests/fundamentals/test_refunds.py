"""An operator takes back some of a charge: it counts when it is made, in the budgets, the bill and the events."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from aegis_core import ConflictError, GovernedAgent, Governor, InvalidRequestError, NotFoundError, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.operators import Operator
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

Virtual = tuple[Governor, FakeClock, Store]


def port(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


def operator(governor: Governor) -> Operator:
    return port(governor).operator


async def bought(agent: GovernedAgent, usd: object) -> str:
    """A grant that was settled at what it reserved."""
    grant = (await agent.request("Buy", estimated_cost_usd=usd)).grant_id or ""
    await agent.settle(grant, cost_usd=usd)
    return grant


async def spent(agent: GovernedAgent, window: str = "day") -> Decimal:
    states = (await agent.budget()).budgets
    return next(state.spent_usd for state in states if (state.scope, state.window) == ("agent", window))


async def billed(governor: Governor, day: date) -> list[tuple[int, Decimal, Decimal]]:
    return [(row.calls, row.cost_usd, row.estimated_usd) for row in await port(governor).usage([day])]


async def test_a_refund_is_in_the_budgets_the_bill_and_the_events(governor: Governor, settings: Settings) -> None:
    agent = await governor.handshake("a")
    grant = await bought(agent, 4)
    made = await operator(governor).refund(grant, "1.5", reason="the key sk-abcdefghijklmnopqrstuvwx1234", author="ada")
    assert (made.grant_id, made.agent_id, made.repeated) == (grant, "a", False)
    assert (made.refund_usd, made.charged_usd, made.refunded_usd) == (Decimal("1.5"), Decimal(4), Decimal("1.5"))
    assert await spent(agent) == Decimal("2.5")
    today = datetime.now(ZoneInfo(settings.timezone)).date()
    assert await billed(governor, today) == [(1, Decimal("2.5"), Decimal(0))]
    event = (await governor.latest_events(1))[0]
    assert (event.kind, event.agent_id) == ("refunded", "a")
    assert "sk-abcdef" not in str(event.facts.pop("reason"))
    assert event.facts.pop("request_id")
    assert event.facts == {
        "grant_id": grant, "refund_usd": 1.5, "charged_usd": 4.0, "refunded_usd": 1.5, "by": "ada",
    }  # fmt: skip


async def test_the_same_refund_again_changes_nothing_and_another_one_does(governor: Governor) -> None:
    agent = await governor.handshake("a")
    grant = await bought(agent, 4)
    for repeated in (False, True):
        made = await operator(governor).refund(grant, 1, author="ada", refund_id="first")
        assert (made.repeated, made.refunded_usd) == (repeated, Decimal(1))
    assert (await operator(governor).refund(grant, 1, author="ada")).refunded_usd == Decimal(2)
    assert await spent(agent) == Decimal(2)


@pytest.mark.parametrize(
    ("usd", "error"),
    [("4.000000001", "usd: is above \\$4"), (0, "usd: must be greater than 0"), (-1, "usd: "), ("x", "usd: ")],
)
async def test_no_more_than_the_charge_is_taken_back(governor: Governor, usd: Any, error: str) -> None:
    agent = await governor.handshake("a")
    grant = await bought(agent, 4)
    with pytest.raises(InvalidRequestError, match=error):
        await operator(governor).refund(grant, usd, author="ada")
    assert await spent(agent) == Decimal(4)


async def test_what_is_open_or_unknown_is_not_refunded(governor: Governor) -> None:
    agent = await governor.handshake("a")
    grant = (await agent.request("Buy", estimated_cost_usd=4)).grant_id or ""
    with pytest.raises(ConflictError, match="still open"):
        await operator(governor).refund(grant, 1, author="ada")
    with pytest.raises(NotFoundError, match="no such grant"):
        await operator(governor).refund("gr_" + "0" * 32, 1, author="ada")
    await agent.release(grant)
    with pytest.raises(InvalidRequestError, match="above"):
        await operator(governor).refund(grant, 1, author="ada")


async def test_a_refund_counts_in_the_window_in_which_it_is_made(virtual: Virtual) -> None:
    """And what this window has not spent makes no budget larger than its limit."""
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await governor.set_budget("agent", "a", "total", 100)
    grant = await bought(agent, 4)
    await clock.advance(hours=13)
    await bought(agent, 1)
    await operator(governor).refund(grant, 3, author="ada")
    assert (await spent(agent), await spent(agent, "total")) == (Decimal(0), Decimal(2))
    assert await billed(governor, date(2026, 3, 27)) == [(1, Decimal(4), Decimal(0))]
    assert await billed(governor, date(2026, 3, 28)) == [(1, Decimal(-2), Decimal(0))]


async def test_an_expired_grant_that_was_corrected_is_not_settled_late(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    grant = (await agent.request("Buy", estimated_cost_usd=4)).grant_id or ""
    await clock.advance(minutes=11)
    await operator(governor).refund(grant, 3, author="ada")
    with pytest.raises(ConflictError):
        await agent.settle(grant, cost_usd=2)
    assert await spent(agent) == Decimal(1)
    day = datetime(2026, 3, 27, tzinfo=UTC).date()
    assert await billed(governor, day) == [(1, Decimal(1), Decimal(1))]
