"""For each detector a day that holds its waste, and one that looks alike and holds none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from aegis_core.kaizen.facts import Call, Certified, Day, Rates, RuleUse
from tests.kaizen.planting import CENT, MONDAY, call, day, tool, use

MINUTE, HOUR = 60_000, 3_600_000


class Plant(NamedTuple):
    """What is found, in cents of dollars (seconds: what was waited), and a day on which nothing is."""

    planted: Callable[[], Day]
    cents: str
    harmless: Callable[[], Day]
    seconds: float | None = None


def _abandoned(charged: int) -> Day:
    settled = [call(at, 2) for at in range(3)]
    return day([*settled, *(call(10 + at, charged, end="expired", estimated=True) for at in range(6))])


def _retries(error: str | None) -> Day:
    calls = [call(2 * at, 0, id=f"first-{at}", error=error) for at in range(20)]
    return day([*calls, *(call(2 * at + 1, 3, attempt=2, parent=f"first-{at}") for at in range(20))])


def _identical(temperature: float | None) -> Day:
    said = {"prompt": "aa", "temperature": temperature}
    apart = [call(at, 1, prompt=f"p{at}", temperature=0) for at in range(20)]
    return day([*apart, *(call(100 + at, 4, **said) for at in range(3)), call(2 * HOUR, 4, **said)])


def _loops(between: str) -> Day:
    calls: list[Call] = []
    for at in range(4):
        calls += [call(10 * at, 2), tool(10 * at + 1, "book", error="full"), call(10 * at + 2, 1)]
        calls.append(tool(10 * at + 3, between, "other"))
    return day(calls)


def _cache(cached: int) -> Day:
    """Fifty continuations of 2,000 tokens, of which 15 * 128 = 1,920 could have come from the cache: 0.24 cents."""
    calls = [call(at * 1_000, 10, input=1_900, output=100, cached=cached if at else 0) for at in range(51)]
    return day([replace(each, input=2_000 if at else 1_900) for at, each in enumerate(calls)])


def _long(outcome: float) -> Day:
    short = [call(at, 1, session=f"s{at}", input=1_000, outcome=0.5) for at in range(190)]
    return day([*short, *(call(999 + at, 10, session=f"t{at}", input=21_000, outcome=outcome) for at in range(10))])


def _strong(certified: bool) -> Day:
    cheap = {("draft", "gpt-4o"): Certified("mini", Rates(150_000_000, 600_000_000))} if certified else {}
    return day([call(0, 1, task_type="draft", input=1_000, output=1_000)], certified=cheap)


def _failed(outcome: float) -> Day:
    calls: list[Call] = []
    for at in range(30):
        calls += [call(at, 1, session=f"s{at}"), call(100 + at, 1, session=f"s{at}", outcome=outcome if at < 10 else 1)]
    return day(calls)


def _runaway(cents: int) -> Day:
    usual = [call(at * MINUTE, 10 + at % 3) for at in range(40)]
    return day([*usual, *(call(41 * MINUTE + at, cents) for at in range(2))])


def _duplicates(shared: int) -> Day:
    one = [call(at, 2, prompt=f"p{at}", agent="ann", temperature=1) for at in range(50)]
    return day([*one, *(call(at, 1, prompt=f"p{at + 50 - shared}", agent="bob", temperature=1) for at in range(50))])


def _reserved(short_cents: int) -> Day:
    open_ones = [call(0, 1, reserved=5 * CENT, ended_at=MONDAY + 5_000) for _ in range(20)]
    said = {"end": "rejected", "code": "budget_exceeded", "stopped_by": "agent ann", "charged": 0}
    return day([*open_ones, call(2_000, 7, **said, short=short_cents * CENT)])


def _caps(cap: int) -> Day:
    return day([call(at, 1, output=100, max_output=cap, session=f"s{at}") for at in range(300)])


def _questions(late: int) -> Day:
    asked = [call(at, 1, asked=True, approved=True, answered_at=MONDAY + at + MINUTE) for at in range(10)]
    open_one = call(0, 30, asked=True, end="timed_out", ended_at=MONDAY + late, charged=0)
    return day([*asked, open_one])


def _bottleneck(held: int) -> Day:
    """A lock that is handed on every second, held for so many ms of each."""
    uses = [use("released", 1_000 * (at + 1), "bob", held=held) for at in range(25)]
    return day(_spending(), locks=(*uses, *(use("acquired", 1_000 * at, "ann", waited=1_200) for at in range(2, 22))))


def _spending() -> list[Call]:
    """Ann spends sixty cents in each minute in which she is active."""
    return [call(30_000, 60), call(90_000, 60)]


def _idle(acts: bool) -> Day:
    uses = [use("released", MINUTE * (at + 2) + 10_000, "bob", lock=f"l{at}", held=10_000) for at in range(10)]
    uses += [use("acquired", MINUTE * (at + 2) + 10_000, "ann", lock=f"l{at}", waited=4_000) for at in range(10)]
    busy = [call(MINUTE * (at + 2) + 5_000, 0, agent="bob") for at in range(10)] if acts else []
    return day([*_spending(), *busy], locks=tuple(uses))


def _unused(kind: str) -> Day:
    return day(_spending(), locks=tuple(use(kind, 20_000 * at, "ann", held=10_000) for at in range(1, 7)))


def _asking(refused: bool) -> Day:
    calls = [
        call(at * MINUTE, 60, rule="ask", asked=True, approved=True, answered_at=MONDAY + at * MINUTE + 10_000)
        for at in range(60)
    ]
    no = call(0, 0, rule="ask", asked=True, approved=False, end="declined", answered_at=MONDAY + 10_000)
    return day([*calls, *([no] if refused else [])])


def _rules(effect: str) -> Day:
    return day([call()], rules={"idle": RuleUse(effect, 30, 1_000, 0), "busy": RuleUse("deny", 30, 1_000, 5)})


def _refusals(later: int) -> Day:
    calls: list[Call] = []
    for at in range(5):
        said = {"session": f"s{at}", "code": "policy", "end": "rejected", "charged": 0}
        calls += [call(at, 8, **said), call(at + later, 8, session=f"s{at}")]
    return day(calls)


def _own(saving_cents: int) -> Day:
    return day([call(0, 1, agent="kaizen")], saving=saving_cents * CENT)


PLANTS: Mapping[str, Plant] = {
    "abandoned-grants": Plant(lambda: _abandoned(9), "42", lambda: _abandoned(2)),
    "retries": Plant(lambda: _retries("timeout"), "60", lambda: _retries(None)),
    "identical-calls": Plant(lambda: _identical(0), "8", lambda: _identical(1)),
    "loops": Plant(lambda: _loops("get_seat"), "4", lambda: _loops("cancel")),
    "unused-cache": Plant(lambda: _cache(0), "12", lambda: _cache(1_920)),
    "long-context": Plant(lambda: _long(0.5), "50", lambda: _long(1.0)),
    "over-strong": Plant(lambda: _strong(True), "0.925", lambda: _strong(False)),
    "failed-work": Plant(lambda: _failed(0), "20", lambda: _failed(0.5)),
    "runaway": Plant(lambda: _runaway(100), "183", lambda: _runaway(50)),
    "duplicate-agents": Plant(lambda: _duplicates(50), "50", lambda: _duplicates(30)),
    "over-reservation": Plant(lambda: _reserved(80), "7", lambda: _reserved(81)),
    "output-cap": Plant(lambda: _caps(1_100), "300", lambda: _caps(200)),
    "stale-questions": Plant(lambda: _questions(4 * MINUTE), "30", lambda: _questions(2 * MINUTE), 240.0),
    "lock-bottleneck": Plant(lambda: _bottleneck(950), "24", lambda: _bottleneck(500), 24.0),
    "idle-holding": Plant(lambda: _idle(False), "40", lambda: _idle(True), 40.0),
    "unused-locks": Plant(lambda: _unused("unclaimed"), "60", lambda: _unused("released"), 60.0),
    "over-asking": Plant(lambda: _asking(False), "600", lambda: _asking(True), 600.0),
    "undeciding-rules": Plant(lambda: _rules("escalate"), "", lambda: _rules("deny")),
    "false-refusals": Plant(lambda: _refusals(1_000), "40", lambda: _refusals(10 * MINUTE)),
    "kaizen-itself": Plant(lambda: _own(4), "1", lambda: _own(5)),
}


def amount(plant: Plant) -> Decimal | None:
    """What is to be found, in cents."""
    return Decimal(plant.cents) if plant.cents else None
