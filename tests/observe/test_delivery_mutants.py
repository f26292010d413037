"""Faults put into the scripts of webhooks and sums on purpose: what is promised of them must find every one."""

from __future__ import annotations

import pytest
from lua import put_in_place

from aegis_core import Governor
from aegis_core.governor.observing import TenantObservation
from aegis_core.observe.ports import Counted, NotSent, Sent
from aegis_core.protocol.events import Event
from aegis_core.testing import private_settings, virtual_governor
from tests.observe.posted import deliveries, resources

pytestmark = [pytest.mark.concurrent]

# Name: the script, what it says, and what the mutant says instead.
DELIVERY: dict[str, tuple[str, str, str]] = {
    "anybody takes the lease": ("hold_delivery", "if not mine and not over then", "if false then"),
    "a lease never ends": ("hold_delivery", "tonumber(found[2]) <= NOW", "false"),
    "a new holder has the old fence": ("hold_delivery", "(mine and not over) and", "found[3] and"),
    "anybody gives it up": ("hold_delivery", "if mine then call('HSET', name, 'until', 0) end", "call('HSET', name, 'until', 0)"),  # noqa: E501
    "it begins with the oldest": ("hold_delivery", "last and last[1] or '0-0'", "'0-0'"),
    "an old fence commits": ("commit_delivery", "tonumber(stored[1] or 0) ~= fence or", ""),
    "a cursor moves from anywhere": ("commit_delivery", " or stored[2] ~= before", ""),
    "a loss is no event": ("commit_delivery", "if last >= first then", "if false then"),
    "a recovery is no event": ("commit_delivery", "if stored[3] then", "if false then"),
    "what was sent still fails": ("commit_delivery", "call('HDEL', name, 'failing',", "call('HDEL', name, 'nothing',"),
    "an old fence fails": ("fail_delivery", "tonumber(stored[1] or 0) ~= fence or", ""),
    "attempts begin anew each time": ("fail_delivery", "same and tonumber(stored[5]) or 0", "0"),
    "attempts of another event count": ("fail_delivery", "local same = stored[3] == event_id", "local same = true"),
    "a failure is told again and again": ("fail_delivery", "if not stored[6] then", "if true then"),
    "one attempt more than the most": ("fail_delivery", "attempts >= most", "attempts > most"),
    "what is put aside holds the others up": ("fail_delivery", "'cursor', event_id,", "'cursor_', event_id,"),
    "what is put aside is nowhere": ("fail_delivery", "call('XADD', aside,", "call('XADD', aside .. 'x',"),
    "nobody hears of what is put aside": ("fail_delivery", "kind ~= 'webhook_dead_lettered'", "false"),
    "of what tells of it everybody hears": ("fail_delivery", "kind ~= 'webhook_dead_lettered'", "true"),
    "patience has no end": ("fail_delivery", "NOW - since >= patience", "false"),
    "a replay leaves the sender where it is": ("replay_delivery", "'cursor', cursor,", "'back', cursor,"),
}  # fmt: skip
ROLLUPS: dict[str, tuple[str, str, str]] = {
    "anybody takes the lease": ("hold_rollups", "if not mine and not over then", "if false then"),
    "a lease never ends": ("hold_rollups", "tonumber(found[2]) <= NOW", "false"),
    "a new holder has the old fence": ("hold_rollups", "mine and (days or not over) and", "found[3] and"),
    "an old fence counts": ("commit_rollups", "tonumber(stored[1] or 0) ~= fence or", ""),
    "events are counted twice": ("commit_rollups", " or (stored[2] or '0') ~= before", ""),
    "what is missed is not said": ("commit_rollups", "if missed > 0 then", "if false then"),
    "the cursor stays": ("commit_rollups", "'cursor', cursor,", "'cursor_', cursor,"),
}


async def check_delivery() -> None:
    """What is promised of webhooks, on the ports that senders use."""
    async with virtual_governor(private_settings()) as (governor, clock, _):
        first, second = (deliveries(governor).port("siem") for _ in range(2))
        await governor.handshake("a")
        lease = await first.hold(60)
        newest = (await governor.events(limit=100))[-1]
        assert lease
        assert (lease.cursor, lease.number) == (newest.id, newest.number), "it begins with what happens from now on"
        assert await second.hold(60) is None
        await second.leave()
        assert await second.hold(60) is None, "only who has it gives it up"
        assert await first.hold(60) == lease
        agent = await governor.handshake("b")
        await agent.request("Work", estimated_cost_usd="0.01")
        events = await first.page(lease.cursor, 10, 0)
        assert [event.kind for event in events] == ["handshake", "granted"]
        one, other = events

        async def fails(event: Event, before: str, *, down: bool = False, patience: float | None = None) -> object:
            return await first.fail(lease.fence, NotSent(before, event, "no", None if down else 3, patience, down))

        assert [await fails(one, lease.cursor, down=True) for _ in range(3)] == [(1, False), (2, False), (3, False)]
        assert await fails(other, lease.cursor, down=True) == (1, False), "each event has its own"
        assert await of_kind("channel_failed", governor) == 1
        assert await first.fail(lease.fence + 1, NotSent(lease.cursor, one, "no", 1, None, False)) is None
        assert not await first.commit(lease.fence + 1, Sent(lease.cursor, one.id, number(one), 1))
        assert not await first.commit(lease.fence, Sent("5-0", one.id, number(one), 1))
        assert await first.commit(lease.fence, Sent(lease.cursor, one.id, number(one), 1))
        assert await of_kind("channel_recovered", governor) == 1
        state = await deliveries(governor).state("siem")
        assert (state.failing, state.attempts, state.problem, state.sent) == ("", 0, "", 1)
        assert [await fails(other, one.id) for _ in range(3)] == [(1, False), (2, False), (3, True)]
        assert [letter.event_id for letter in await deliveries(governor).dead_letters("siem")] == [other.id]
        assert await of_kind("webhook_dead_lettered", governor) == 1

        (*_, told) = await first.page(other.id, 10, 0)
        assert told.kind == "webhook_dead_lettered"
        assert await fails(told, other.id, down=True, patience=50) == (1, False)
        await clock.advance(seconds=30)
        assert await first.hold(60)
        assert await fails(told, other.id, down=True, patience=50) == (2, False)
        await clock.advance(seconds=30)
        assert await fails(told, other.id, down=True, patience=50) == (3, True)
        assert await of_kind("webhook_dead_lettered", governor) == 1, "that it was put aside is not told of itself"

        await clock.advance(seconds=61)
        later = await second.hold(60)
        assert later
        assert (later.fence > lease.fence, later.cursor) == (True, told.id)
        assert not await first.commit(lease.fence, Sent(told.id, "9999999999999-0", 1, 1))
        assert await second.commit(later.fence, Sent(told.id, told.id, number(told), 0, 3, 4))
        assert await of_kind("events_lost", governor) == 1
        assert await deliveries(governor).go_back("siem", "7d", by="ada") > 0
        assert not await second.commit(later.fence, Sent(told.id, told.id, number(told), 1)), "it begins anew"
        again = await first.hold(60)
        assert again
        assert (again.fence > later.fence, again.number) == (True, 0)
        assert number((await first.page(again.cursor, 1, 0))[0]) == 1


async def check_rollups() -> None:
    """What is promised of the consumer that sums up."""
    async with virtual_governor(private_settings()) as (governor, clock, _):
        first = resources(governor).observation
        second = TenantObservation(resources(governor)._ledger)
        await governor.handshake("a")
        lease = await first.hold(60)
        assert lease
        assert await second.hold(60) is None
        assert await first.hold(60) == lease
        assert not await first.commit(lease.fence + 1, Counted(lease.cursor, "5-0", 1, 0, ()))
        assert await first.commit(lease.fence, Counted(lease.cursor, "5-0", 1, 2, ()))
        assert not await first.commit(lease.fence, Counted(lease.cursor, "5-0", 1, 0, ()))
        page = await governor.activity()
        assert (page.missed, page.counted_to) == (2, "5-0")
        await clock.advance(seconds=61)
        later = await second.hold(60)
        assert later
        assert (later.fence > lease.fence, later.cursor) == (True, "5-0")
        assert not await first.commit(lease.fence, Counted("5-0", "6-0", 2, 0, ()))


async def of_kind(kind: str, governor: Governor) -> int:
    return sum(event.kind == kind for event in await governor.events(limit=500))


def number(event: Event) -> int:
    assert event.number
    return event.number


async def test_the_shipped_scripts_keep_every_promise() -> None:
    await check_delivery()
    await check_rollups()


@pytest.mark.parametrize("name", DELIVERY)
async def test_a_mutant_of_webhooks_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, DELIVERY[name])
    with pytest.raises(AssertionError):  # a script that does not run any more would prove nothing
        await check_delivery()


@pytest.mark.parametrize("name", ROLLUPS)
async def test_a_mutant_of_sums_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, ROLLUPS[name])
    with pytest.raises(AssertionError):  # a script that does not run any more would prove nothing
        await check_rollups()
