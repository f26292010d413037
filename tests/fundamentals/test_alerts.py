"""Alerts follow spending: 80 % and 100 % of a limit that are spent, and apart from those what is only reserved."""

from __future__ import annotations

from decimal import Decimal

from aegis_core import Governor
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.spending_watch import SpendingWatch
from aegis_core.protocol.profiles import Profile
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

Virtual = tuple[Governor, FakeClock, Store]


async def percents(governor: Governor, kind: str, agent: str = "a") -> list[int]:
    """The percentages that events of a kind announced of an agent, in their order."""
    found = [event for event in await governor.latest_events(1_000) if event.kind == kind]
    mine = [event.facts for event in found if event.agent_id == agent and event.facts["owner"] == "a"]
    return [int(str(facts["percent"])) for facts in mine]


async def spend(agent: GovernedAgent, reserved: object, spent: object | None = None) -> None:
    verdict = await agent.request("Work", estimated_cost_usd=reserved)
    await agent.settle(verdict.grant_id or "", cost_usd=reserved if spent is None else spent)


async def rise_and_fall(agent: GovernedAgent, reserved: tuple[str, ...], left: str) -> None:
    """Reserve in several grants, then settle them all at next to nothing and one at what is left."""
    verdicts = [await agent.request("Work", estimated_cost_usd=amount) for amount in reserved]
    for at, verdict in enumerate(verdicts):
        await agent.settle(verdict.grant_id or "", cost_usd=left if at == 0 else 0)


async def test_what_is_spent_is_announced_once_a_mark(governor: Governor) -> None:
    agent = await governor.handshake("a")
    for _ in range(9):
        await spend(agent, 1)
    for _ in range(10):
        await spend(agent, "0.01")
    assert await percents(governor, "budget_crossed") == [80]
    await spend(agent, "0.90")
    assert not (await agent.request("Work", estimated_cost_usd=1)).granted
    assert await percents(governor, "budget_crossed") == [80, 100]
    crossed = [event.facts for event in await governor.latest_events(100) if event.kind == "budget_crossed"]
    assert crossed[0] == {
        "owner": "a", "session_id": crossed[0]["session_id"], "window": "d", "limit_usd": 10.0, "committed_usd": 8.0,
        "spent_usd": 8.0, "percent": 80,
    }  # fmt: skip


async def test_a_reservation_that_settles_low_uses_up_no_alert_of_spending(governor: Governor) -> None:
    agent = await governor.handshake("a")
    for _ in range(3):
        await rise_and_fall(agent, ("4.9", "4"), "0.02")
    assert await percents(governor, "budget_crossed") == []
    assert await percents(governor, "budget_reserved") == [80], "within an hour it is said once"
    await spend(agent, "4.9")
    await spend(agent, "4.9")
    assert await percents(governor, "budget_crossed") == [80]


async def test_more_reserved_than_was_said_is_said_at_once_and_the_same_after_an_hour(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await rise_and_fall(agent, ("4", "4"), "0")
    await rise_and_fall(agent, ("5", "5"), "0")
    assert await percents(governor, "budget_reserved") == [80, 100]
    await rise_and_fall(agent, ("5", "5"), "0")
    await clock.advance(hours=1)
    assert await percents(governor, "budget_reserved") == [80, 100]
    await rise_and_fall(agent, ("5", "3.5"), "0")
    assert await percents(governor, "budget_reserved") == [80, 100, 80]


async def test_reservations_that_fall_by_less_than_5_points_are_announced_once(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await spend(agent, 4)
    await spend(agent, "3.6")
    await rise_and_fall(agent, ("0.5",), "0")
    await clock.advance(hours=1)
    await rise_and_fall(agent, ("0.5",), "0")
    assert await percents(governor, "budget_reserved") == [80]
    assert await percents(governor, "budget_crossed") == []


async def test_a_changed_limit_is_crossed_anew_and_the_same_one_is_not(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await spend(agent, 4)
    await governor.set_budget("agent", "a", "day", 4)
    assert await percents(governor, "budget_crossed") == [100]
    await governor.set_budget("agent", "a", "day", 4)
    assert await percents(governor, "budget_crossed") == [100]
    await governor.set_budget("agent", "a", "day", 20)
    for _ in range(4):
        await spend(agent, 4)
    assert await percents(governor, "budget_crossed") == [100, 80, 100]


async def test_a_limit_that_a_profile_changes_is_crossed_anew(governor: Governor) -> None:
    agent = await governor.handshake("a")
    await spend(agent, 4)
    assert await percents(governor, "budget_crossed") == []
    assert isinstance(governor.port, ResourceGovernor)
    await governor.port.operator.set_profile(Profile(match="a", budgets={"day": Decimal(4)}), author="ops")
    assert not (await agent.request("Work", estimated_cost_usd=1)).granted
    assert await percents(governor, "budget_crossed") == [100]


async def test_the_next_window_is_announced_again(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    for _ in range(2):
        await spend(agent, "4.5")
        await spend(agent, "4.5")
        await clock.advance(hours=13)
    assert await percents(governor, "budget_crossed") == [80, 80]


async def test_an_overrun_and_an_expired_grant_are_spent(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await spend(agent, 1, Decimal("8.5"))
    assert await percents(governor, "budget_crossed") == [80]
    assert (await agent.request("Work", estimated_cost_usd="1.5")).granted
    await clock.advance(minutes=11)
    await agent.budget()
    assert await percents(governor, "budget_crossed") == [80, 100]


async def forecasts(governor: Governor) -> list[dict[str, object]]:
    return [event.facts for event in await governor.latest_events(1_000) if event.kind == "budget_forecast"]


async def test_a_day_that_the_last_hour_uses_up_is_foretold_once(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    assert isinstance(governor.port, ResourceGovernor)
    one, other = SpendingWatch(governor.port, 20), SpendingWatch(governor.port, 20)
    for _ in range(2):
        await spend(agent, 1)
    assert await one.look()
    assert await forecasts(governor) == [], "two charges are no rate"
    await spend(agent, 2)
    assert await one.look()
    assert not await other.look(), "one process looks"
    assert await one.look()
    found = await forecasts(governor)
    assert found == [
        {
            "owner": "a", "session_id": None, "window": "d", "limit_usd": 10.0, "spent_usd": 4.0, "last_hour_usd": 4.0,
            "gone_at": "2026-03-27T13:30:00+00:00",
        }
    ]  # fmt: skip
    await governor.set_budget("agent", "a", "day", 40)
    await clock.advance(minutes=30)
    await one.leave()
    assert await other.look()
    assert [facts["gone_at"] for facts in await forecasts(governor)] == [
        "2026-03-27T13:30:00+00:00",
        "2026-03-27T21:30:00+00:00",
    ]
    await other.leave()


async def test_what_lasts_its_day_is_not_foretold(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    assert isinstance(governor.port, ResourceGovernor)
    forecast = SpendingWatch(governor.port, 20)
    for _ in range(3):
        await spend(agent, "0.2")
    assert await forecast.look()
    await spend(agent, 5)
    await clock.advance(hours=1)
    assert await forecast.look()
    assert await forecasts(governor) == [], "what is older than an hour does not count"
    await forecast.leave()


async def test_a_late_settlement_takes_the_place_of_what_the_expired_grant_was_charged(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    assert isinstance(governor.port, ResourceGovernor)
    forecast = SpendingWatch(governor.port, 20)
    verdicts = [await agent.request("Work", estimated_cost_usd=3) for _ in range(3)]
    await clock.advance(minutes=11)
    await agent.budget()
    for verdict in verdicts:
        await agent.settle(verdict.grant_id or "", cost_usd="0.1")
    assert await forecast.look()
    assert await forecasts(governor) == []
    await forecast.leave()


async def test_charges_that_are_mostly_estimated_are_told_once_a_day(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    sure, guessing = await governor.handshake("sure"), await governor.handshake("guessing")
    assert isinstance(governor.port, ResourceGovernor)
    watch, silent = SpendingWatch(governor.port, 50), SpendingWatch(governor.port, 0)
    for agent, estimated in ((sure, "0.32"), (guessing, "0.34")):
        for amount in ("0.33", "0.33"):
            await spend(agent, amount)
        for _ in range(2):
            verdict = await agent.request("Work", estimated_cost_usd=estimated)
            await agent.settle(verdict.grant_id or "", estimated=True)
    assert await silent.look()
    assert [event for event in await governor.latest_events(100) if event.kind == "estimates_high"] == []
    await silent.leave()
    for days in (0, 0, 1):
        await clock.advance(days=days)
        assert await watch.look()
    found = [event for event in await governor.latest_events(100) if event.kind == "estimates_high"]
    assert [(event.agent_id, event.facts) for event in found] == [
        ("guessing", {"charged_usd": 1.34, "estimated_usd": 0.68, "percent": 51})
    ]
    await watch.leave()
