"""Days are closed at the tenant's midnight: each event in one report, whoever is killed, and the same bytes again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import killing
import pytest
from killing import Killed
from warm import Warm

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.kaizen_days import TenantKaizen
from aegis_core.kaizen import days
from aegis_core.kaizen.days import DayCloser, midnight
from aegis_core.kaizen.facts import DAY_MS
from aegis_core.protocol.errors import NotFoundError
from aegis_core.store import layout
from aegis_core.store.ledger import Ledger
from aegis_core.store.store import Store, open_store
from aegis_core.testing import FakeClock

pytestmark = pytest.mark.leaves("grants", "questions", "leases")
Virtual = tuple[Governor, FakeClock, Store]
PROGRAM = [killing.__file__, "days"]
USAGE = {"model": "gpt-4o", "input_tokens": 100, "output_tokens": 10}


def resources(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


async def spend(governor: Governor, name: str = "ann", times: int = 1, **said: Any) -> list[str]:
    agent = await governor.handshake(name)
    grants: list[str] = []
    for _ in range(times):
        granted = await agent.request("Work", model="gpt-4o", estimated_cost_usd="0.5", task_type="draft")
        grants.append(str(granted.grant_id))
        await agent.settle(grants[-1], **({"cost_usd": "0.25"} | said))
    return grants


async def stored(store: Store, tenant: str) -> dict[str, bytes]:
    """The reports as they lie there."""
    names = sorted(await store.command("KEYS", layout.key(tenant, "kd:*")))
    return {name.decode(): await store.command("GET", name) for name in names}


async def test_a_day_is_closed_at_midnight_and_stays_as_it_is(virtual: Virtual) -> None:
    governor, clock, store = virtual
    closer = DayCloser(resources(governor).kaizen)
    await spend(governor, times=3)
    assert await closer.look() == 0
    with pytest.raises(NotFoundError, match="closed at the tenant's midnight"):
        await governor.kaizen_report()
    await clock.advance(hours=12)
    await spend(governor, times=1)
    assert await closer.look() == 1
    report = await governor.kaizen_report()
    assert (report.day, report.spent_usd, report.calls) == ("2026-03-27", Decimal("0.75"), 3)
    assert len(report.findings) == 20
    before = await stored(store, governor.tenant)
    assert await closer.look() == 0
    await clock.advance(hours=24)
    assert await closer.look() == 1
    assert before.items() <= (await stored(store, governor.tenant)).items()
    assert (await governor.kaizen_report()).spent_usd == Decimal("0.25")


async def test_made_again_it_has_the_same_bytes(virtual: Virtual) -> None:
    governor, clock, store = virtual
    for _ in range(3):
        await spend(governor, times=20, outcome=0, attempt=2, error_class="timeout")
        await clock.advance(hours=24)
    await DayCloser(resources(governor).kaizen).look()
    once = await stored(store, governor.tenant)
    assert len(once) == 3
    await store.command("DEL", *once, layout.key(governor.tenant, "kz"))
    await DayCloser(resources(governor).kaizen).look()
    assert await stored(store, governor.tenant) == once


async def test_what_settles_late_is_a_correction_of_the_next_day(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    closer = DayCloser(resources(governor).kaizen)
    agent = await governor.handshake("ann")
    granted = await agent.request("Work", model="gpt-4o", estimated_cost_usd=1)
    await clock.advance(hours=11)
    await governor.latest_events(1)
    await clock.advance(hours=2)
    await agent.settle(str(granted.grant_id), cost_usd="0.4")
    await closer.look()
    report = await governor.kaizen_report()
    assert (report.spent_usd, report.corrected_usd) == (Decimal(1), 0)
    await clock.advance(hours=24)
    await closer.look()
    report = await governor.kaizen_report()
    assert (report.spent_usd, report.corrected_usd) == (Decimal(0), -0.6)


async def test_the_reports_add_up_to_the_bill(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    closer, total = DayCloser(resources(governor).kaizen), Decimal(0)
    for hours in (1, 13, 20):
        agent = await governor.handshake("ann")
        granted = await agent.request("Work", estimated_cost_usd=1)
        (grant,) = await spend(governor)
        await resources(governor).operator.refund(grant, "0.05", author="ada", reason="")
        await clock.advance(hours=hours)
        await governor.latest_events(1)
        await agent.settle(str(granted.grant_id), cost_usd="0.5")
    await clock.advance(hours=48)
    await closer.look()
    dates = []
    for at in range(5):
        day = (await clock_day(governor)) - timedelta(days=at + 1)
        dates.append(day)
        try:
            report = await governor.kaizen_report(day)
        except NotFoundError:
            continue
        total += report.spent_usd + Decimal(str(report.corrected_usd))
    bill = await resources(governor).usage(dict.fromkeys(dates))
    assert total == sum((row.cost_usd for row in bill), Decimal(0)) == Decimal("0.5") * 3 + Decimal("0.2") * 3


async def clock_day(governor: Governor) -> date:
    """The present day of a virtual clock in UTC."""
    lease = await resources(governor).kaizen.hold(60)
    assert lease is not None
    return datetime.fromtimestamp(lease.now / 1000, UTC).date()


async def test_what_was_found_is_told_in_events(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    for at in range(30):
        await spend(governor, f"agent-{at}", outcome=0)
    await clock.advance(hours=24)
    await DayCloser(resources(governor).kaizen).look()
    page = await governor.find_events(kind="kaizen_finding,kaizen_proposed")
    (event,) = [each for each in page.events if each.facts.get("detector") == "failed-work"]
    assert event.facts["waste_usd"] == 7.5
    assert event.facts["finding_id"] == "2026-03-27.failed-work"
    found = await governor.port.kaizen_explain(event.facts["finding_id"])
    assert found.finding.amount_usd == Decimal("7.5")
    assert found.finding.events
    for name in ("2026-03-27.nothing", "2025-01-01.retries", "x"):
        with pytest.raises(NotFoundError):
            await governor.port.kaizen_explain(name)


async def test_events_that_were_gone_are_told(virtual: Virtual) -> None:
    governor, clock, store = virtual
    await spend(governor, times=5)
    await store.command("XTRIM", layout.key(governor.tenant, "e"), "MAXLEN", 4)
    events = await governor.events()
    await clock.advance(hours=24)
    await DayCloser(resources(governor).kaizen).look()
    assert (await governor.kaizen_report()).missed == (events[0].number or 0) - 1


async def test_a_forgotten_agent_stays_counted(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    await spend(governor, times=2)
    await resources(governor).operator.forget("ann", author="ada")
    await clock.advance(hours=24)
    await DayCloser(resources(governor).kaizen).look()
    report = await governor.kaizen_report()
    assert (report.spent_usd, report.missed) == (Decimal("0.5"), 0)


async def test_a_report_names_no_tool_of_a_forgotten_agent(virtual: Virtual) -> None:
    """Neither one that is stored, nor one that is being made of events read before."""
    governor, clock, store = virtual
    agent = await governor.handshake("ann")

    async def loop() -> None:
        for _ in range(4):
            granted = await agent.request("Think", model="gpt-4o", estimated_cost_usd="0.1")
            await agent.settle(str(granted.grant_id), cost_usd="0.1")
            arguments = {"resource_type": "api_call", "tool": "book_seat", "arguments": {"seat": 1}}
            granted = await agent.request("Book", estimated_cost_usd="0.1", **arguments)
            await agent.settle(str(granted.grant_id), cost_usd="0.1")

    await loop()
    await clock.advance(hours=13)
    assert await DayCloser(resources(governor).kaizen).look() == 1
    agent = await governor.handshake("ann")
    await loop()
    await clock.advance(hours=24)
    before = await stored(store, governor.tenant)
    assert b"book_seat" in b"".join(before.values())

    class Slow(Killed):
        """Forgets the agent once, when all its events are read."""

        async def surroundings(self, start: int, end: int) -> Any:
            if self._left:
                self._left = 0
                await resources(governor).operator.forget("ann", author="ada")
            return await super().surroundings(start, end)

    closer = DayCloser(Slow(resources(governor).kaizen, 0))
    assert await closer.look() == 1
    after = await stored(store, governor.tenant)
    assert len(after) == 2
    assert b"book_seat" not in b"".join(after.values())
    (name,) = before
    assert after[name] == before[name].replace(b"book_seat", b"")
    assert 0 < await store.command("PTTL", name) <= 402 * DAY_MS


async def test_two_engines_close_each_day_once(virtual: Virtual) -> None:
    governor, clock, store = virtual
    for _ in range(3):
        await spend(governor, times=5)
        await clock.advance(hours=24)
    ledger, prices = Ledger(store, governor.tenant), resources(governor).arbiter.prices
    closers = [DayCloser(TenantKaizen(ledger, lambda: prices)) for _ in range(2)]
    answers = await asyncio.gather(*(closer.look() for closer in closers))
    assert sum(answer or 0 for answer in answers) == 3
    kinds = [event.facts["finding_id"] for event in (await governor.find_events(kind="kaizen_finding")).events]
    assert len(kinds) == len(set(kinds))


async def test_a_clock_that_goes_back_loses_nothing(virtual: Virtual) -> None:
    governor, clock, _ = virtual
    closer = DayCloser(resources(governor).kaizen)
    await spend(governor)
    await clock.advance(hours=13)
    await closer.look()
    await clock.advance(hours=-2)
    await spend(governor)
    await clock.advance(hours=36)
    await closer.look()
    assert (await governor.kaizen_report()).spent_usd == Decimal("0.25")


@pytest.mark.parametrize("engine_sees_it", [True, False])
async def test_a_clock_that_was_years_ahead_stops_no_report(virtual: Virtual, *, engine_sees_it: bool) -> None:
    governor, clock, store = virtual
    closer = DayCloser(resources(governor).kaizen)
    await spend(governor)
    here = clock.now
    await clock.advance(days=3_650)
    await spend(governor, "bob")
    if engine_sees_it:
        assert await closer.look() == 1
    await clock.set(here + timedelta(hours=1))
    await spend(governor, "cyd")
    await clock.advance(hours=48)
    await closer.look()
    reports = await stored(store, governor.tenant)
    spent = [json.loads(text)["spent_usd"] for text in reports.values()]
    assert sorted(spent) == ([0.25, 0.5] if engine_sees_it else [0.75])
    await spend(governor, "dan")
    await clock.advance(hours=24)
    assert await closer.look() == 1
    assert (await governor.kaizen_report()).spent_usd == Decimal("0.25")
    assert reports.items() <= (await stored(store, governor.tenant)).items()


async def test_a_day_without_events_has_no_report(virtual: Virtual) -> None:
    governor, clock, store = virtual
    closer = DayCloser(resources(governor).kaizen)
    await spend(governor)
    await clock.advance(days=200)
    await spend(governor)
    assert await closer.look() == 1
    await clock.advance(days=1)
    assert await closer.look() == 1
    assert len(await stored(store, governor.tenant)) == 2


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich", "America/New_York"])
def test_days_follow_each_other_without_a_gap(zone: str) -> None:
    first = 739_700
    lengths = {midnight(day + 1, zone) - midnight(day, zone) for day in range(first, first + 400)}
    hour = DAY_MS // 24
    assert lengths == ({DAY_MS} if zone == "UTC" else {DAY_MS - hour, DAY_MS, DAY_MS + hour})


DAILY = [("page", 5), ("sent", 1)]
PLACES = [
    *DAILY,
    *(
        pytest.param(*place, marks=pytest.mark.deep)
        for place in (
            ("hold", 1), ("hold", 4), ("page", 1), ("page", 2), ("around", 1), ("around", 2), ("committed", 1),
            ("committed", 2),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("place", "times"), PLACES, ids=str)
async def test_an_engine_that_is_killed_leaves_the_same_reports(
    warm: Warm, settings: Settings, monkeypatch: pytest.MonkeyPatch, place: str, times: int
) -> None:
    """Two days: that of the work, and the next one, as what was found is told; both are over for a clock far ahead."""
    store = await open_store(settings)
    ahead = str(2 * DAY_MS)
    async with aegis_core.connect(settings=settings) as governor:
        await spend(governor, times=32, outcome=0, attempt=2)  # so many failures are a finding
        command = [*PROGRAM, settings.url, settings.tenant, ahead]
        killed = await asyncio.to_thread(warm.run, [*command, place, str(times)], Path.cwd(), os.environ)
        assert killed.returncode == -signal.SIGKILL
        whole = await asyncio.to_thread(warm.run, [*command, "end", "1"], Path.cwd(), os.environ)
        assert whole.returncode == 0
        once = await stored(store, governor.tenant)
        told = (await governor.find_events(kind="kaizen_finding")).events
        assert len(once) == 2
        assert len({event.facts["finding_id"] for event in told}) == len(told)
        monkeypatch.setattr(days, "PAGE", 50)
        # The server's clock is not ahead, so what was told of the day stands in it; a day is made of what it was then.
        ids = [event.id for event in (await governor.find_events(kind="kaizen_finding,kaizen_proposed")).events]
        await store.command("XDEL", layout.key(governor.tenant, "e"), *ids)
        await store.command("DEL", *once, layout.key(governor.tenant, "kz"))
        again = DayCloser(Killed(resources(governor).kaizen, int(ahead)))
        assert await again.look() == 2
        first, _ = sorted(once)
        assert (await stored(store, governor.tenant))[first] == once[first]
    await store.aclose()
