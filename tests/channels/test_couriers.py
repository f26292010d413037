"""Outages, restarts and several processes: what must be shown follows from Redis, so nothing is lost or said twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asking import on_telegram
from botapi import ANA, BotApi

import aegis_core
from aegis_core import Settings
from aegis_core.channels.registry import open_channels
from aegis_core.channels.runner import running
from aegis_core.channels.schedule import Agenda
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.observe.pace import Pace
from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.errors import ChannelError
from aegis_core.protocol.events import Event
from aegis_core.store import layout
from aegis_core.store.channels import ChannelStore
from aegis_core.testing import virtual_governor

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

QUICK = Pace(lease=6.0, send=4.0, first_retry=0.05, longest_retry=0.2, most_attempts=3)
"""Quick to try again; a lease and an answer may take as long as they do on a machine that has other work, too."""
WISH: dict[str, Any] = {"resource_type": "compute", "estimated_cost_usd": 6}


async def until(told: Callable[[], Any], what: str = "") -> Any:
    deadline = time.monotonic() + 60
    while not (found := told()):
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)
    return found


async def kept(port: ResourceGovernor, count: int) -> None:
    """Wait until it is remembered what so many messages on the wall show: from then on another process knows it."""
    channel_store = ChannelStore(port._ledger, "wall")
    deadline = time.monotonic() + 60
    while len(await channel_store.notices()) != count:
        assert time.monotonic() < deadline, await channel_store.notices()
        await asyncio.sleep(0.01)


async def off_loop(work: Callable[..., Any], *given: Any) -> Any:
    return await asyncio.to_thread(work, *given)


class Wall:
    """A channel of the test's own: what is written on it, and whether it can be written on."""

    def __init__(self, name: str = "wall") -> None:
        self.name, self.said, self.down, self.slow = name, list[tuple[str, str, str]](), False, 0.0
        self.closed = self.listening = 0

    async def _write(self, verb: str, approval_id: str, status: str) -> None:
        await asyncio.sleep(self.slow)
        if self.down:
            raise ChannelError("the wall is down")
        self.said.append((verb, approval_id, status))

    async def announce(self, approval: Approval) -> str:
        await self._write("announce", approval.approval_id, approval.status)
        return approval.approval_id

    async def update(self, approval: Approval, ref: str) -> None:
        assert ref == approval.approval_id
        await self._write("update", approval.approval_id, approval.status)

    async def remind(self, approval: Approval, ref: str) -> None:
        await self._write("remind", approval.approval_id, approval.status)

    async def retire(self, approval_id: str, ref: str) -> None:
        await self._write("retire", approval_id, "")

    async def test(self) -> str:
        return "painted"

    async def listen(self) -> None:
        self.listening += 1

    async def aclose(self) -> None:
        self.closed += 1


@asynccontextmanager
async def process(settings: Settings, *walls: Wall, pace: Pace = QUICK) -> AsyncGenerator[ResourceGovernor]:
    """A process of its own, with a connection of its own, that serves the walls."""
    async with aegis_core.connect(settings=settings) as governor:
        port = governor.port
        assert isinstance(port, ResourceGovernor)
        async with running(walls, port, pace=pace):
            yield port


async def ask(governor: aegis_core.Governor, name: str = "a", **fields: Any) -> str:
    agent = await governor.handshake(name)
    verdict = await agent.request("Rent it", **{**WISH, **fields})
    assert verdict.status == "PENDING", verdict
    return str(verdict.escalation_id)


@pytest.fixture
def rich(settings: Settings) -> Settings:
    return settings.model_copy(update={"agent_day_usd": 10_000, "tenant_day_usd": 1_000_000})


async def test_several_channels_at_once_and_one_that_fails_holds_up_neither_decisions_nor_the_other(
    rich: Settings,
) -> None:
    good, bad = Wall("good"), Wall("bad")
    bad.down = True
    async with process(rich, good, bad) as port, aegis_core.connect(settings=rich) as governor:
        first = await ask(governor)
        await until(lambda: ("announce", first, "open") in good.said)
        await port.approvals.decide(first, "approve", by="cli:ana")
        await until(lambda: ("update", first, "approved") in good.said)
        await asyncio.sleep(3 * QUICK.longest_retry)  # the bad one looks at it, and has nothing to say
        second = await ask(governor, "b")
        await until(lambda: ("announce", second, "open") in good.said)
        assert bad.said == []
        bad.down = False
        await until(lambda: bad.said)
        assert bad.said == [("announce", second, "open")]
        reported = await channel_events(governor, 2)  # that it works again is written once it does
        assert [(one.kind, one.facts["by"]) for one in reported] == [
            ("channel_failed", "bad"), ("channel_recovered", "bad"),
        ]  # fmt: skip


async def channel_events(governor: aegis_core.Governor, count: int) -> list[Event]:
    """What channels report of themselves, once there is so much of it."""
    deadline = time.monotonic() + 60
    while len(found := [one for one in await governor.events(limit=500) if "channel" in one.kind]) < count:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)
    return found


async def test_of_two_processes_one_announces_and_the_other_goes_on_when_it_stops(rich: Settings) -> None:
    one, two = Wall(), Wall()
    async with aegis_core.connect(settings=rich) as governor, AsyncExitStack() as second:
        async with process(rich, one):
            first = await ask(governor)
            await until(lambda: one.said)
            port = await second.enter_async_context(process(rich, two))
            await ask(governor, "b")
            await until(lambda: len(one.said) == 2)
            await kept(port, 2)
            assert (two.said, two.listening) == ([], 0)
        assert one.closed == 1
        await port.approvals.decide(first, "reject", by="cli:ana")
        await until(lambda: two.said)
        assert two.said == [("update", first, "rejected")]
        assert len(one.said) == 2


async def test_a_process_that_dies_with_the_lease_is_followed_when_that_expires(rich: Settings) -> None:
    wall, brief = Wall(), replace(QUICK, lease=1.0, send=0.4)
    async with aegis_core.connect(settings=rich) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        dying = ChannelStore(governor.port._ledger, "wall")
        assert (await dying.hold(600))[0]
        approval = await ask(governor)
        async with process(rich, wall, pace=brief):
            await asyncio.sleep(brief.lease)  # in which it asks for the lease four times
            assert wall.said == []
            assert (await dying.hold(brief.lease))[0]  # the last sign of life
            await until(lambda: wall.said)
        assert wall.said == [("announce", approval, "open")]


async def test_after_a_restart_nothing_is_announced_twice_and_what_was_decided_meanwhile_is_shown(
    rich: Settings,
) -> None:
    before, after = Wall(), Wall()
    async with aegis_core.connect(settings=rich) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        async with process(rich, before):
            decided, still = await ask(governor), await ask(governor, "b")
            await until(lambda: len(before.said) == 2)
            await kept(governor.port, 2)
        await governor.port.approvals.decide(decided, "approve", by="cli:ana")
        gone = await ask(governor, "c")
        await governor.port.approvals.decide(gone, "reject", by="cli:ana")
        new = await ask(governor, "d")
        async with process(rich, after):
            await until(lambda: len(after.said) == 2)
            await asyncio.sleep(0.2)
        assert sorted(after.said) == sorted([("update", decided, "approved"), ("announce", new, "open")])
        assert still not in {name for _, name, _ in after.said}


class Sluggish(Wall):
    """It shows at once, and is long in saying so."""

    async def announce(self, approval: Approval) -> str:
        ref = await super().announce(approval)
        await asyncio.sleep(0.3)
        return ref


async def test_who_stops_in_the_middle_of_an_announcement_remembers_it(rich: Settings) -> None:
    before, after = Sluggish(), Wall()
    async with aegis_core.connect(settings=rich) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        async with process(rich, before):
            shown = await ask(governor)
            await until(lambda: before.said)
        assert before.said == [("announce", shown, "open")]
        async with process(rich, after):
            await governor.port.approvals.decide(shown, "approve", by="cli:ana")
            await until(lambda: after.said)
        assert after.said == [("update", shown, "approved")]


async def test_a_channel_that_hangs_does_not_hold_up_who_stops(rich: Settings) -> None:
    wall = Wall()
    wall.slow = 600
    async with aegis_core.connect(settings=rich) as governor:
        async with process(rich, wall, pace=replace(QUICK, lease=240, send=120)):
            await ask(governor)
            await asyncio.sleep(0.2)
            began = time.monotonic()
        assert time.monotonic() - began < 60
        assert wall.said == []


async def test_more_open_approvals_than_a_page_are_all_announced(rich: Settings) -> None:
    wall = Wall()
    async with aegis_core.connect(settings=rich) as governor:
        for number in range(230):
            await ask(governor, f"agent-{number}", estimated_cost_usd=5.01)
        async with process(rich, wall):
            await until(lambda: len(wall.said) >= 230)
            await asyncio.sleep(0.1)
        assert isinstance(governor.port, ResourceGovernor)
        asked = await governor.port.approvals.list(limit=230)
    assert [name for _, name, _ in wall.said] == [one.approval_id for one in asked]  # who waits longest comes first


async def test_a_channel_that_never_answers_is_given_up_on_and_tried_again(rich: Settings) -> None:
    wall, brief = Wall(), replace(QUICK, send=0.4)
    wall.slow = 600
    async with process(rich, wall, pace=brief), aegis_core.connect(settings=rich) as governor:
        approval = await ask(governor)
        (failed,) = await channel_events(governor, 1)
        assert (failed.kind, failed.facts["problem"]) == ("channel_failed", "no answer within 0.4 s")
        wall.slow = 0
        await until(lambda: wall.said)
        assert wall.said == [("announce", approval, "open")]


async def test_everything_that_a_channel_keeps_expires(rich: Settings) -> None:
    wall = Wall()
    async with process(rich, wall) as port, aegis_core.connect(settings=rich) as governor:
        approval = await ask(governor)
        await until(lambda: wall.said)
        await ChannelStore(port._ledger, "wall").refuse("somebody", "button")
        store, prefix = port._ledger.store, f"ae:{{{rich.tenant}}}:c"

        async def keys() -> dict[str, int]:
            names = [name.decode() for name in await store.command("KEYS", prefix + "?:*")]
            return {name[len(prefix) - 1 :]: int(await store.command("PTTL", name)) for name in names}

        found = await until_kept(keys, lambda found: len(found) == 5)
        assert set(found) == {"cl:wall", "ch:wall", "cn:wall", f"cm:wall\t{approval}", "cx:wall"}
        assert all(left > 0 for left in found.values())
        await port.approvals.decide(approval, "approve", by="cli:ana")
        await until_kept(keys, lambda found: "cn:wall" not in found)


async def until_kept(keys: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 60
    while not holds(found := await keys()):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)
    return found


async def test_redis_goes_away_for_a_moment(rich: Settings) -> None:
    wall = Wall()
    async with process(rich, wall) as port, aegis_core.connect(settings=rich) as governor:
        first = await ask(governor)
        await until(lambda: wall.said)
        await kept(port, 1)
        await port._ledger.store.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        second = await ask(governor, "b")
        await until(lambda: len(wall.said) == 2)
        assert wall.said == [("announce", first, "open"), ("announce", second, "open")]


async def test_telegram_is_down_for_an_hour(rich: Settings, telegram: BotApi) -> None:
    """An hour of the server's time. What is open then is announced, what was shown is brought up to date, what came
    and went is left out; and a press works again."""
    settings = on_telegram(rich, telegram, approval_seconds=6_000).model_copy(update={"timezone": "UTC"})
    start = datetime(2026, 3, 27, 12, tzinfo=UTC)
    async with virtual_governor(settings, start=start) as (governor, clock, _store):
        port = governor.port
        assert isinstance(port, ResourceGovernor)
        channels = open_channels(settings, port, pace=QUICK)
        async with running(channels, port, pace=QUICK):
            shown = [await ask(governor, f"shown-{number}") for number in range(2)]
            messages = [await off_loop(telegram.announced, number) for number in (1, 2)]
            telegram.down = True
            await port.approvals.decide(shown[0], "approve", by="cli:carol")
            brief = await ask(governor, "brief")
            await port.approvals.decide(brief, "reject", by="cli:carol")
            await clock.set(start + timedelta(hours=1))
            late = await ask(governor, "late")
            await clock.set(start + timedelta(seconds=6_030))  # the second one's deadline passed, with nobody there
            await asyncio.sleep(0.5)
            assert len(telegram.messages) == 2
            telegram.down = False
            new = await off_loop(telegram.announced, 3)
            assert late in new.text
            await off_loop(telegram.shows, messages[0], "Approved by cli:carol")
            await off_loop(telegram.shows, messages[1], "Timed out")
            assert messages[0].buttons == messages[1].buttons == {}
            assert (await off_loop(telegram.press, new, "APPROVE", ANA)).startswith("Approved by ana")
            await off_loop(telegram.shows, new, "Approved by ana")
            assert len(telegram.messages) == 3
        failed = [one for one in await port.events(limit=500) if one.kind == "channel_failed"]
        assert len(failed) == 1


async def test_an_approval_whose_record_is_gone_is_retired(rich: Settings) -> None:
    """The outage outlived the record: nobody can say any more how it ended, but that it did."""
    before, after = Wall(), Wall()
    async with aegis_core.connect(settings=rich) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        async with process(rich, before):
            approval = await ask(governor)
            await until(lambda: before.said)
            await kept(governor.port, 1)
        await governor.port.approvals.decide(approval, "reject", by="cli:ana")
        store = governor.port._ledger.store
        assert await store.command("DEL", layout.key(rich.tenant, "r:" + approval.removeprefix("ap_"))) == 1
        async with process(rich, after):
            await until(lambda: after.said)
        assert after.said == [("retire", approval, "")]


def test_an_agenda_takes_the_earliest_first_and_each_name_once() -> None:
    agenda = Agenda()
    assert agenda.take(9.0) is None
    for name, at in (("a", 3.0), ("b", 1.0), ("a", 2.0), ("b", 5.0)):
        agenda.put(name, at)
    assert agenda.next_at() == 1.0
    assert [agenda.take(9.0) for _ in range(3)] == ["b", "a", None]
    agenda.put("a", 4.0)
    assert agenda.take(3.9) is None
    agenda.clear()
    assert agenda.next_at() == float("inf")


class Hasty(Wall):
    """Somebody decides while the announcement is still on its way."""

    port: ResourceGovernor

    async def announce(self, approval: Approval) -> str:
        ref = await super().announce(approval)
        await self.port.approvals.decide(approval.approval_id, "approve", by="cli:ana")
        await asyncio.sleep(0.1)  # its event is here before the announcement is done
        return ref


async def test_a_decision_that_overtakes_the_announcement_is_shown(rich: Settings) -> None:
    wall = Hasty()
    async with process(rich, wall) as port, aegis_core.connect(settings=rich) as governor:
        wall.port = port
        approval = await ask(governor)
        await until(lambda: len(wall.said) == 2)
        assert wall.said == [("announce", approval, "open"), ("update", approval, "approved")]


async def test_the_events_of_a_question_say_when_each_channel_showed_it_first(rich: Settings) -> None:
    left, right = Wall("left"), Wall("right")
    async with process(rich, left, right) as port, aegis_core.connect(settings=rich) as governor:
        first = await ask(governor)
        await until(lambda: left.said and right.said)
        await _kept_on(port, "left", "right")
        open_ = await port.approvals.get(first)
        shown = open_.shown_at
        assert shown.keys() == {"left", "right"}
        assert all(open_.asked_at <= at <= datetime.now(UTC) + timedelta(minutes=1) for at in shown.values())
        await port.approvals.decide(first, "approve", by="cli:ana")
        done = next(event for event in await governor.latest_events(50) if event.kind == "approved")
        assert done.facts["shown_at"] == {name: at.isoformat() for name, at in shown.items()}
        await until(lambda: ("update", first, "approved") in left.said)
        assert (await port.approvals.get(first)).shown_at == shown, "what is shown later changes nothing"
        assert next(e.facts for e in await governor.latest_events(50) if e.kind == "pending").get("shown_at") is None


async def test_who_waits_for_news_of_a_question_is_not_told_that_it_was_shown(rich: Settings) -> None:
    wall = Wall()
    wall.down = True
    async with process(rich, wall) as port, aegis_core.connect(settings=rich) as governor:
        first = await ask(governor)
        waiting = asyncio.create_task(port.approvals.get(first, wait=60))
        await asyncio.sleep(0)
        wall.down = False
        await until(lambda: wall.said)
        await kept(port, 1)
        await port.approvals.trace_refusal("ana", "nothing")  # an event that concerns no question
        assert not waiting.done()
        await port.approvals.decide(first, "reject", by="cli:ana")
        assert (await asyncio.wait_for(waiting, 30)).status == "rejected"


async def _kept_on(port: ResourceGovernor, *walls: str) -> None:
    for wall in walls:
        channel_store = ChannelStore(port._ledger, wall)
        deadline = time.monotonic() + 60
        while not await channel_store.notices():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
