"""Kaizen's days on Redis: who closes them, what they are made of, and the reports as people read them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from aegis_core.governor.event_words import told_events
from aegis_core.governor.experiments import TenantExperiments
from aegis_core.governor.proposal_words import changes_of
from aegis_core.kaizen.detectors.runaway import WEEKS, hour_of_week
from aegis_core.kaizen.detectors.undeciding_rules import DAYS
from aegis_core.kaizen.facts import HOUR_MS, Rates, RuleUse
from aegis_core.kaizen.ports import ClosedDay, DayLease, Surroundings
from aegis_core.kaizen.prices import rates_of
from aegis_core.metering.price_book import PriceBook
from aegis_core.observe.sums import MEASURES, Names
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.activity import OTHERS
from aegis_core.protocol.errors import NotFoundError
from aegis_core.protocol.events import Event
from aegis_core.protocol.kaizen import Explanation, Finding, KaizenQuery, KaizenReport
from aegis_core.protocol.money import to_nanos
from aegis_core.store.kaizen import KaizenStore
from aegis_core.store.ledger import Ledger
from aegis_core.store.proposals import ProposalStore
from aegis_core.store.rollups import RollupStore
from aegis_core.store.streams import EventStream
from aegis_core.store.verbs import CommitKaizen

if TYPE_CHECKING:
    from aegis_core.governor.optimizer import Optimizer

_REPORT: TypeAdapter[KaizenReport] = TypeAdapter(KaizenReport)
_AT_ONCE = 50
_CHARGED, _REQUESTS = MEASURES.index("charged_nanos"), MEASURES.index("requests")


class TenantKaizen:
    """Closes days; as `KaizenPort` has it."""

    def __init__(self, ledger: Ledger, prices: Callable[[], PriceBook]) -> None:
        self._ledger, self._prices = ledger, prices
        self._store, self._rollups = KaizenStore(ledger), RollupStore(ledger)
        self._stream = EventStream(ledger.store, ledger.tenant)
        self.experiments = TenantExperiments(ledger, prices)
        self.optimizer: Optimizer | None = None
        """Takes proposals further at each look, where there is one."""

    async def hold(self, seconds: float) -> DayLease | None:
        """Take or keep the lease; None while somebody else has it."""
        held = await self._store.hold(seconds)
        if not held.fence:
            return None
        day = None if held.day < 0 else held.day
        return DayLease(held.fence, held.cursor, held.number, day, held.now, held.zone)

    async def page(self, after: str, most: int) -> tuple[Event, ...]:
        """Events after one, in their order, with what agents wrote where it is kept."""
        entries = await self._stream.range("-" if after == "0" else f"({after}", "+", most, back=False)
        return await told_events(self._ledger, entries)

    async def back(self, to: str, most: int) -> tuple[Event, ...]:
        """Events up to one, that one included, the newest first; ``0``: none."""
        entries = [] if to == "0" else await self._stream.range("-", to, most, back=True)
        return await told_events(self._ledger, entries)

    async def reported(self, day: int) -> bool:
        """Whether there is a report of a day."""
        return await self._store.report(day) is not None

    async def surroundings(self, start: int, end: int) -> Surroundings:
        """The sums by the hour of the weeks before a day, as far as they are kept."""
        last = -(-end // HOUR_MS)
        first = min(start // HOUR_MS - WEEKS * 168, last - DAYS * 24)
        certified, tried = await self.experiments.certified(), await self.experiments.reported(start)
        changes = changes_of(await ProposalStore(self._ledger).all(), start, end)
        kept = await self._rollups.first_hour()
        if kept is None or kept > first:
            return Surroundings(None, {}, certified, tried, *changes)
        spent: dict[tuple[str, int], int] = defaultdict(int)
        decided: dict[str, int] = defaultdict(int)
        judged, since = 0, last - DAYS * 24
        async for hour, names, sums in self._rows(first, last):
            if start // HOUR_MS - WEEKS * 168 <= hour < start // HOUR_MS:
                spent[names.agent, hour] += sums[_CHARGED]
            if hour >= since:
                judged += sums[_REQUESTS]
                decided[names.rule] += sums[_REQUESTS]
        rules = await self._rules(judged, decided)
        return Surroundings(rules, _by_hour_of_week(spent, start // HOUR_MS), certified, tried, *changes)

    def rates(self, model: str) -> Rates | None:
        """What a model costs; None where nobody knows."""
        return rates_of(self._prices(), model)

    async def commit(self, fence: int, closed: ClosedDay) -> bool:
        """Store a report, and tell of what is in it, in one step."""
        report = closed.report
        proposed = {each.finding: each.title for each in reversed(report.proposals)}
        told = [
            ["kaizen_finding", [*_told(each), each.title, proposed.get(each.id, "")]]
            for each in report.findings if each.state == "found"
        ]  # fmt: skip
        told += [["kaizen_proposed", [each.id, each.finding, each.verb, each.title]] for each in report.proposals]
        last = -1 if closed.last is None else closed.last
        order = CommitKaizen(
            fence, closed.before, last, closed.cursor, closed.number, report.missed, closed.day,
            _REPORT.dump_json(report), told,
        )  # fmt: skip
        return await self._store.commit(order)

    async def newest(self) -> str:
        """The id of the last event; ``0``: there is none."""
        return await self._stream.last()

    async def decide(self) -> int:
        """Decide on experiments, and take proposals further; see `KaizenPort`."""
        decided = await self.experiments.decide()
        return decided + (await self.optimizer.look() if self.optimizer is not None else 0)

    async def leave(self) -> None:
        """Give the lease up, so that another process goes on at once."""
        await self._store.hold(0)

    async def _rows(self, first: int, last: int) -> AsyncIterator[tuple[int, Names, list[int]]]:
        for at in range(first, last, _AT_ONCE):
            hours = range(at, min(at + _AT_ONCE, last))
            for hour, rows in zip(hours, await asyncio.gather(*map(self._rollups.hour, hours)), strict=True):
                for name, sums in rows:
                    yield hour, Names(*name.split("\t")), list(sums)

    async def _rules(self, judged: int, decided: dict[str, int]) -> dict[str, RuleUse] | None:
        """Rules in force. Where an hour had too many rows to say which rule decided what, nobody knows."""
        if decided.get(OTHERS):
            return None
        version, document = await self._ledger.read_policy()
        rules = load_policy(document, f"policy version {version}").rules
        return {
            rule.name: RuleUse(rule.effect, DAYS, judged, decided.get(rule.name, 0))
            for rule in rules
            if rule.enabled and not rule.observed
        }


class KaizenReader:
    """Reads the reports of a tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._store = KaizenStore(ledger)

    async def report(self, query: KaizenQuery) -> KaizenReport:
        """As `EventViews.kaizen_report`."""
        day = query.day.toordinal() if query.day else await self._store.last()
        text = None if day is None else await self._store.report(day)
        if text is None:
            name = query.day.isoformat() if query.day else "any day"
            hint = "a day with events is closed at the tenant's midnight, by aegis serve or aegis kaizen run"
            raise NotFoundError(f"There is no report of {name}: {hint}.", kind="report", name=name)
        return _REPORT.validate_json(text)

    async def explain(self, name: str) -> Explanation:
        """As `EventViews.kaizen_explain`."""
        day, _, rest = name.partition(".")
        try:
            report = await self.report(KaizenQuery(day=date.fromisoformat(day)))
        except ValueError:
            report = None
        wanted, findings = rest.partition(".")[0], report.findings if report else ()
        finding = next((each for each in findings if each.detector == wanted), None)
        if finding is None or report is None:
            raise NotFoundError(f"There is no finding {name}.", kind="finding", name=name)
        proposals = tuple(each for each in report.proposals if each.finding == finding.id)
        return Explanation(finding, proposals)


def _told(finding: Finding) -> list[object]:
    bounds = finding.interval
    ends = (False, False) if bounds is None else (to_nanos(bounds.low_usd), to_nanos(bounds.high_usd))
    nanos = 0 if finding.amount_usd is None else to_nanos(finding.amount_usd)
    return [finding.id, finding.detector, finding.currency, nanos, *ends, finding.count]


def _by_hour_of_week(spent: dict[tuple[str, int], int], start: int) -> dict[tuple[str, int], tuple[int, ...]]:
    """Of each agent that spent anything, what it spent in each of the last weeks in such an hour, nothing included."""
    found: dict[tuple[str, int], tuple[int, ...]] = {}
    for agent in sorted({agent for agent, _ in spent}):
        for hour in range(start - 168, start):
            weeks = tuple(spent.get((agent, hour - 168 * week), 0) for week in range(WEEKS))
            found[agent, hour_of_week(hour)] = weeks
    return found
