"""Windows against zoneinfo: they start anew at local midnight, Monday and the first, on days of 23 and 25 hours too."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from aegis_core import Governor
from aegis_core.store import scripts
from aegis_core.store.lua_names import LuaNames
from aegis_core.store.packing import pack, unpack
from aegis_core.store.store import Store, open_store
from aegis_core.store.zones import FOREVER, zone_at
from aegis_core.testing import FakeClock, private_settings

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
ZONES = [
    "UTC", "Europe/Zurich", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu",
    "Asia/Kolkata", "Pacific/Chatham", "Pacific/Apia", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut",
    "America/Havana", "America/Santiago", "America/Nuuk", "Europe/Dublin", "Pacific/Kiritimati",
]  # fmt: skip
YEARS = range(2024, 2035)

ASK = """
local answer = {}
for i = 1, #A, 2 do
  NOW, NUMBERS = A[i], {}
  T = {}
  T[T_ZONE] = A[i + 1]
  if zone_missing() then return {'ZONE', NOW} end
  for _, kind in ipairs({'h', 'd', 'w', 'm'}) do
    answer[#answer + 1] = window_number(kind)
    answer[#answer + 1] = window_end(kind)
  end
end
return encode(answer)
"""


@pytest.fixture
async def store(server_url: str) -> AsyncIterator[Store]:
    opened = await open_store(private_settings(url=server_url), virtual_time=True)
    yield opened
    await opened.aclose()


Asked = dict[str, tuple[int, int]]


async def ask(store: Store, zone: str, instants: list[int]) -> list[Asked]:
    """Number and end of the hour, day, week and month of many instants, by the shipped ``windows.lua``."""
    names = LuaNames({})
    body = "".join(names.put_into(scripts._read(part), part) for part in ("prelude", "windows"))
    script = f"local keys, arguments = KEYS, ARGV\n{body}begin(keys, arguments)\n{names.put_into(ASK, 'windows')}"
    answers: list[Asked] = []
    for at in range(0, len(instants), 500):
        given: list[Any] = []
        for now in instants[at : at + 500]:
            given += (now, zone_at(zone, now))
        flat = iter(unpack(await store.command("EVAL", script, 1, "ae:{windows}:t", pack(given))))
        windows = zip(flat, flat, strict=True)
        answers += [dict(zip("hdwm", four, strict=True)) for four in zip(*[windows] * 4, strict=True)]
    return answers


def midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def first_days(day: date) -> dict[str, tuple[date, date]]:
    """The first day of the window of a day, and of the next window."""
    monday, first = day - timedelta(days=day.weekday()), day.replace(day=1)
    return {
        "d": (day, day + timedelta(days=1)),
        "w": (monday, monday + timedelta(days=7)),
        "m": (first, (first + timedelta(days=32)).replace(day=1)),
    }


@cache
def changes(zone: ZoneInfo) -> list[int]:
    """When the clocks change, to the minute."""
    found: list[int] = []
    at, end = datetime(YEARS[0], 1, 1, tzinfo=UTC), datetime(YEARS[-1], 12, 31, tzinfo=UTC)
    while at < end:
        later = at + timedelta(days=1)
        if at.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            moment = at
            for step in (timedelta(hours=1), timedelta(minutes=1)):
                while (moment + step).astimezone(zone).utcoffset() == at.astimezone(zone).utcoffset():
                    moment += step
            moment += timedelta(minutes=1)
            found.append(int(moment.timestamp()) * 1000)
        at = later
    return found


@cache
def telling(zone: ZoneInfo) -> list[int]:
    """Instants around clock changes, midnights and month ends, and some others."""
    chance = random.Random(str(zone))
    start, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000 for year in (YEARS[0], YEARS[-1]))
    found = [chance.randrange(start, end) for _ in range(200)]
    for change in changes(zone):
        found += [change + off for off in (-DAY, -HOUR, -30 * MINUTE, -1, 0, 1, 30 * MINUTE, HOUR, 25 * HOUR)]
        day = datetime.fromtimestamp(change / 1000, zone).date()
        for near in (day - timedelta(days=1), day, day + timedelta(days=1)):
            found += [midnight(near, zone) + off for off in (-1, 0)]
    for _ in range(60):
        day = date(chance.choice(YEARS), chance.randint(1, 12), 1) - timedelta(days=chance.randint(0, 1))
        found += [midnight(day, zone) + off for off in (-1, 0, 1)]
    return sorted(found)


@pytest.mark.parametrize("name", ZONES)
async def test_days_weeks_and_months_are_those_of_the_local_calendar(store: Store, name: str) -> None:
    zone = ZoneInfo(name)
    instants = telling(zone)
    numbers: dict[tuple[str, date], int] = {}
    days: dict[tuple[str, int], date] = {}
    for now, answer in zip(instants, await ask(store, name, instants), strict=True):
        local = datetime.fromtimestamp(now / 1000, zone)
        for kind, (first, following) in first_days(local.date()).items():
            number, end = answer[kind]
            assert numbers.setdefault((kind, first), number) == number, f"{local} {kind}: two numbers for one window"
            assert days.setdefault((kind, number), first) == first, f"{local} {kind}: one number for two windows"
            assert end == midnight(following, zone), f"{local} {kind}"
    for kind in "dwm":
        grown = [number for (known, _), number in sorted(numbers.items(), key=lambda item: item[0][1]) if known == kind]
        assert grown == sorted(set(grown))


@pytest.mark.parametrize("name", ZONES)
async def test_a_window_lasts_until_the_very_millisecond_it_says(store: Store, name: str) -> None:
    instants = telling(ZoneInfo(name))[::3]
    answers = await ask(store, name, instants)
    for kind in "hdwm":
        ends = [answer[kind][1] for answer in answers]
        before, after = await ask(store, name, [end - 1 for end in ends]), await ask(store, name, ends)
        for now, answer, last, new in zip(instants, answers, before, after, strict=True):
            assert now < answer[kind][1]
            assert last[kind][0] == answer[kind][0], f"{kind} of {now} ended early"
            assert new[kind][0] > answer[kind][0], f"{kind} of {now} went on"


@pytest.mark.parametrize("name", ZONES)
async def test_an_hour_ends_at_the_next_full_local_hour(store: Store, name: str) -> None:
    """Also where the offset is no whole hour, or changes by half of one."""
    zone = ZoneInfo(name)
    instants = telling(zone)
    numbers: dict[int, int] = {}
    for now, answer in zip(instants, await ask(store, name, instants), strict=True):
        local = datetime.fromtimestamp(now / 1000, zone)
        number, end = answer["h"]
        began = now - now % SECOND - (local.minute * 60 + local.second) * SECOND
        assert numbers.setdefault(began, number) == number
        assert end == began + HOUR
    assert len(set(numbers.values())) == len(numbers)


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("Europe/Zurich", date(2026, 3, 29), 23), ("Europe/Zurich", date(2026, 10, 25), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5), ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("America/St_Johns", date(2026, 11, 1), 25), ("Africa/Cairo", date(2026, 4, 24), 23),
        ("Asia/Kathmandu", date(2026, 3, 29), 24),
    ],
)  # fmt: skip
async def test_a_day_budget_starts_anew_at_local_midnight(
    virtual: tuple[Governor, FakeClock, Store], server_url: str, name: str, day: date, hours: float
) -> None:
    from aegis_core.connect import open_governor

    _, clock, store = virtual
    zone = ZoneInfo(name)
    start = datetime.fromtimestamp(midnight(day, zone) / 1000, UTC)
    await clock.set(start)
    settings = private_settings(url=server_url, tenant=f"day-{name}-{day}", timezone=name)
    port = await open_governor(store, settings)
    agent = await Governor(port).handshake("a")
    verdict = await agent.request("Summarise", estimated_cost_usd=4, request_id="one")
    assert verdict.granted
    assert verdict.grant_id
    await agent.settle(verdict.grant_id, cost_usd=4)
    end = start + timedelta(hours=hours)
    assert (await agent.budget()).budgets[0].resets_at == end
    await clock.set(end - timedelta(milliseconds=1))
    assert (await agent.budget()).remaining_budget_usd == 6
    await clock.set(end)
    assert (await agent.budget()).remaining_budget_usd == 10
    await port.aclose()


SPANS: list[tuple[str, int]] = [
    ("rolling:10m", 10 * MINUTE),
    ("rolling:90m", 90 * MINUTE),
    ("rolling:1d", DAY),
    ("rolling:366d", 366 * DAY),
]


@pytest.mark.parametrize(("window", "span"), SPANS)
@pytest.mark.leaves("grants")
async def test_a_rolling_window_never_forgets_early_and_never_remembers_long(
    virtual: tuple[Governor, FakeClock, Store], window: str, span: int
) -> None:
    governor, clock, _ = virtual
    agent = await governor.handshake("a")
    await governor.set_budget("tenant", "tenant", window, 100)
    chance = random.Random(window)
    spent: list[tuple[datetime, int]] = []
    for number in range(60):
        if number % 3 < 2:
            verdict = await agent.request("Summarise", estimated_cost_usd=1, request_id=f"q{number}")
            if verdict.granted:
                assert verdict.grant_id
                await agent.settle(verdict.grant_id, cost_usd=1)
                spent.append((clock.now, 1))
        state = await _rolling(governor, window)
        held = sum(cost for at, cost in spent if clock.now - at < timedelta(milliseconds=span))
        most = sum(cost for at, cost in spent if clock.now - at < timedelta(milliseconds=span * 25 / 24))
        assert held <= state <= most
        step = chance.choice([span // 24, span // 24 - 1, span // 7, span, span + 1, span * 25 // 24, 1, span // 3])
        await clock.set(clock.now + timedelta(milliseconds=step))
        if await _session_is_gone(agent):
            agent = await governor.handshake("a")


async def _rolling(governor: Governor, window: str) -> int:
    states = (await governor.budget("a")).budgets
    return int(next(state.spent_usd for state in states if state.scope == "tenant" and state.window == window))


async def _session_is_gone(agent: Any) -> bool:
    from aegis_core.protocol.errors import AegisError

    try:
        await agent.request("Count", estimated_cost_usd=0, resource_type="compute", request_id=f"z{random.random()}")
    except AegisError:
        return True
    return False


@pytest.mark.parametrize("name", ZONES)
def test_a_zone_is_known_around_any_instant(name: str) -> None:
    zone = ZoneInfo(name)

    def offset(now: int) -> int:
        there = datetime.fromtimestamp(now / 1000, zone).utcoffset()
        assert there is not None
        return int(there.total_seconds() * 1000)

    for now in telling(zone):
        said, held, since, till, then = zone_at(name, now)
        assert said == name
        assert since <= now < till
        assert held == offset(now) == offset(since) == offset(min(till, now + 399 * DAY) - 1)
        if till < FOREVER:
            assert then == offset(till)


@pytest.mark.parametrize("change", ["2026-03-29T01:00", "2026-10-25T01:00"])
@pytest.mark.leaves("grants")
async def test_the_script_asks_for_the_zone_when_the_clocks_change(
    virtual: tuple[Governor, FakeClock, Store], server_url: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once at each change and not again: otherwise every decision would cost two round trips."""
    from aegis_core.connect import open_governor
    from aegis_core.store import ledger

    _, clock, store = virtual
    moment = datetime.fromisoformat(change).replace(tzinfo=UTC)
    await clock.set(moment - timedelta(minutes=1))
    port = await open_governor(store, private_settings(url=server_url, tenant=f"z-{change}", timezone="Europe/Zurich"))
    agent = await Governor(port).handshake("a")
    asked: list[int] = []
    look_up: Callable[[str, int], Any] = ledger.zone_at

    def counted(name: str, now: int) -> Any:
        asked.append(now)
        return look_up(name, now)

    monkeypatch.setattr(ledger, "zone_at", counted)
    await agent.request("Summarise", estimated_cost_usd=0, request_id="before")
    assert asked == []
    await clock.set(moment)
    for number in range(3):
        assert (await agent.request("Summarise", estimated_cost_usd=0, request_id=f"after{number}")).granted
    assert len(asked) == 1
    await port.aclose()
