"""How stored experiments stand: their terms, what the days that are over say of them, and how people read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from aegis_core.kaizen.experiments.betting import ENOUGH, Evidence, forecast, log_mean
from aegis_core.kaizen.experiments.deciding import CERTIFICATE_MS, Standing
from aegis_core.kaizen.facts import Rates
from aegis_core.protocol.experiments import TRUE_JUDGES, Experiment, ExperimentStart, Forecast
from aegis_core.store.experiments import StoredExperiment

_EPOCH = date(1970, 1, 1).toordinal()
OPEN = ("running", "paused", "suggested")
"""The states of an experiment that is not over."""


_UNSAMPLED = (
    "nothing was sampled yet: it cannot run here unless the proxy, or a governed model that is given the candidate, "
    "serves such tasks with this judge; else post pairs"
)


class Terms(NamedTuple):
    """What an experiment was begun with, and the rates of both models then, in nano-dollars a million tokens."""

    start: ExperimentStart
    present: dict[str, int]
    candidate: dict[str, int]
    confirmed: bool
    """Its judge knows what is right, or an operator certifies without labels."""


def by_kind(rates: Rates | None) -> dict[str, int]:
    return {name: nanos for name, nanos in rates._asdict().items() if nanos is not None} if rates else {}


def terms_of(stored: StoredExperiment) -> Terms:
    about: dict[str, Any] = json.loads(stored.about)
    start = ExperimentStart.model_validate(about["start"])
    return Terms(start, about["present"], about["candidate"], start.judge in TRUE_JUDGES or start.without_labels)


def day_of(now: int, zone: str) -> int:
    """Days since 1970 in a zone, as scripts count them."""
    return datetime.fromtimestamp(now / 1000, ZoneInfo(zone)).date().toordinal() - _EPOCH


def standings_of(stored: Sequence[StoredExperiment], today: int) -> list[Standing]:
    return [standing_of(each, today) for each in stored]


def standing_of(stored: StoredExperiment, today: int) -> Standing:
    """As of the end of the last day. Of a decided one, as of when it was decided."""
    tally, closed = stored.tally, stored.closed
    log_e, labels, whole = log_mean(tally.stakes), log_mean(tally.labelled), tally.days
    if stored.state not in OPEN:
        return Standing(stored.name, False, whole, float(stored.proof) if stored.proof else log_e)
    if stored.day >= today or stored.next <= stored.last:  # something of this day is counted, or something is open
        if closed is None:
            return Standing(stored.name, True, 0, 0.0)
        log_e, labels, whole = closed.log_e, closed.log_labels, closed.days
    return Standing(stored.name, True, whole, log_e, terms_of(stored).confirmed, labels)


def proof_of(stored: StoredExperiment) -> str:
    return repr(log_mean(stored.tally.stakes))


def is_over(stored: StoredExperiment, now: int) -> bool:
    counted = stored.next > stored.last
    return now >= stored.until or (counted and stored.last >= terms_of(stored).start.most_pairs)


def told_of(stored: StoredExperiment, least: float) -> Experiment:
    tally, start = stored.tally, terms_of(stored).start
    evidence = Evidence(stored.margin, tally.n, tally.total, tally.squares, tally.stakes, tally.against)
    expected = forecast(evidence) if stored.state in OPEN else None
    why = _UNSAMPLED if stored.state == "running" and not stored.last else stored.why
    certificate = stored.ended + CERTIFICATE_MS if stored.state == "certified" else None
    return Experiment(
        stored.name, start.task_type, start.present, start.candidate, start.judge, start.judge_version,
        stored.state, why, start.share, stored.margin, at_of(stored.made), at_of(stored.until),  # pyright: ignore[reportArgumentType]
        tally.n, stored.last - stored.next + 1, tally.missing, tally.skipped, tally.labels, round(evidence.log_e, 9),
        round(evidence.log_against, 9), round(log_mean(tally.labelled), 9), round(max(least, ENOUGH), 9), tally.days,
        Forecast(*expected) if expected else None, None if certificate is None else at_of(certificate),
    )  # fmt: skip


def at_of(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
