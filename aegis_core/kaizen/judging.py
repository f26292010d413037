"""One day through every detector: what each found, how sure that is, and a sum that counts each request once."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from aegis_core.kaizen.detectors.registry import DETECTORS
from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found, Loss, unit_of
from aegis_core.kaizen.intervals import interval
from aegis_core.kaizen.scamper.table import proposals
from aegis_core.protocol.kaizen import Currency, Finding, Interval, KaizenReport, Place, State
from aegis_core.protocol.money import to_usd

MOST_PLACES, MOST_EVENTS = 10, 20
_CURRENCIES: tuple[Currency, ...] = ("spent", "blocked", "waited", "none")
_STATES: tuple[State, ...] = ("found", "failed", "unknown", "too_few", "clean")

_log = logging.getLogger("aegis.kaizen")


def judge(day: Day, *, detectors: Sequence[Detector] = DETECTORS, after: str = "0", through: str = "0") -> KaizenReport:
    """The report of a day. The same day gives the same report, to the byte.

    Args:
        day: what happened.
        detectors: in the order in which requests are counted.
        after: the id of the last event of the day before, `through` that of this one.
    """
    units = {unit_of(call) for call in day.calls if call.spent} or {unit_of(call) for call in day.calls}
    counted, findings = dict[str, int](), list[Finding]()
    for detector in detectors:
        found = _looked(detector, day)
        findings.append(_finding(detector, day, found, counted, len(units)))
    found_nanos = sum(
        int((each.counted_usd or Decimal(0)).scaleb(9)) for each in findings
        if each.currency == "spent" and each.avoidable
    )  # fmt: skip
    ordered = tuple(sorted(findings, key=_rank))
    return KaizenReport(
        day.name, _at(day.start), _at(day.end), to_usd(day.spent), to_usd(found_nanos), day.corrections / 1e9,
        len(day.calls), len({unit_of(call) for call in day.calls}), day.missed, ordered, proposals(ordered), after,
        through, day.notes, experiments=day.experiments,
    )  # fmt: skip


def _looked(detector: Detector, day: Day) -> Found | str:
    try:
        return detector.find(day)
    except Exception as error:  # noqa: BLE001 - a detector that fails takes no other with it
        _log.exception("kaizen: %s failed on %s", detector.name, day.name)
        return f"{type(error).__name__}; the others went on"


def _finding(detector: Detector, day: Day, found: Found | str, counted: dict[str, int], units: int) -> Finding:
    finding = Finding(
        f"{day.name}.{detector.name}", detector.name, detector.title, detector.currency, "failed",
        minimum=detector.minimum, counted=detector.counted, at_most=detector.bound, avoidable=detector.avoidable,
    )  # fmt: skip
    if isinstance(found, str):
        finding.note = found
        return finding
    finding.evidence, finding.facts = found.evidence, found.facts
    finding.state, finding.note = _state(detector, found)
    if finding.state in {"unknown", "too_few"}:
        return finding
    _amounts(finding, found.losses, units)
    if detector.currency == "spent":
        finding.counted_usd = to_usd(_count(found.losses, counted, {call.id: call.spent for call in day.calls}))
    finding.where, finding.events = _places(found.losses), _events(found.losses)
    return finding


def _state(detector: Detector, found: Found) -> tuple[State, str]:
    if found.unknown is not None:
        return "unknown", found.unknown
    if found.evidence < detector.minimum and not (detector.itself and not found.evidence):
        return "too_few", f"{found.evidence:,} {detector.counted}, {detector.minimum:,} are needed"
    return ("found" if found.losses else "clean"), ""


def _amounts(finding: Finding, losses: Sequence[Loss], units: int) -> None:
    by_unit: dict[str, int] = defaultdict(int)
    for loss in losses:
        by_unit[loss.unit] += loss.nanos
    finding.count = len(losses)
    if finding.currency != "none":
        finding.amount_usd = to_usd(sum(by_unit.values()))
        bounds = interval(by_unit.values(), max(units, len(by_unit)), finding.id) if losses else (0, 0)
        finding.interval = Interval(*map(to_usd, bounds)) if bounds else None
    if ms := sum(loss.ms for loss in losses):
        finding.seconds = ms / 1000


def _count(losses: Sequence[Loss], counted: dict[str, int], spent: dict[str, int]) -> int:
    """What of it no detector before counted, call by call; a call is counted by one detector alone."""
    mine: dict[str, int] = defaultdict(int)
    for loss in losses:
        if loss.call not in counted:
            mine[loss.call] += loss.nanos
    mine = {call: min(nanos, spent[call]) for call, nanos in mine.items()}
    counted.update(mine)
    return sum(mine.values())


def _places(losses: Sequence[Loss]) -> tuple[Place, ...]:
    sums: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for loss in losses:
        row = sums[loss.about]
        row[0], row[1], row[2] = row[0] + loss.nanos, row[1] + 1, row[2] + loss.ms
    rows = sorted(sums.items(), key=lambda each: (-each[1][0], -each[1][2], -each[1][1], each[0]))
    return tuple(
        Place(agent, subject, task_type, to_usd(row[0]), row[1], row[2] / 1000, tool)
        for (agent, subject, task_type, tool), row in rows[:MOST_PLACES]
    )


def _events(losses: Sequence[Loss]) -> tuple[str, ...]:
    """Of the dearest places first."""
    ordered = sorted(losses, key=lambda loss: (-loss.nanos, -loss.ms, loss.events))
    return tuple(dict.fromkeys(event for loss in ordered[:MOST_EVENTS] for event in loss.events))[:MOST_EVENTS]


def _rank(finding: Finding) -> tuple[int, int, Decimal, Decimal, str]:
    """By currency, then by what it is at least."""
    low = finding.interval.low_usd if finding.interval else Decimal(0)
    return (
        _CURRENCIES.index(finding.currency), _STATES.index(finding.state), -low, -(finding.amount_usd or Decimal(0)),
        finding.detector,
    )  # fmt: skip


def _at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
