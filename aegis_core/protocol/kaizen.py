"""The daily report of waste, as people and programs read it, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from aegis_core.protocol.experiments import Experiment
from aegis_core.protocol.fields import Usd
from aegis_core.protocol.parsing import Message

Currency = Literal["spent", "blocked", "waited", "none"]
"""Dollars spent, dollars held while somebody was refused, time waited; ``none`` of them."""


def _only_iso(value: object) -> object:
    """Not also a number of seconds, or a date with a time, which pydantic would take for one."""
    if isinstance(value, str) and (len(value) != len("2026-11-30") or value[4] != "-"):
        raise ValueError("expected a date, like 2026-11-30")
    return value


Date = Annotated[date, BeforeValidator(_only_iso)]

OWN_AGENT = "kaizen"
"""The agent under which Kaizen itself spends. Nobody else opens a session under that name over HTTP."""

State = Literal["found", "clean", "too_few", "unknown", "failed"]
Verb = Literal["substitute", "combine", "adapt", "modify", "put_to_other_use", "eliminate", "reverse"]


@dataclass(slots=True)
class Interval:
    """The 95 % interval of an amount, in dollars."""

    low_usd: Usd
    high_usd: Usd


@dataclass(slots=True)
class Place:
    """Where something was lost. `subject` is a model, a lock or a rule; the name of a tool is its agent's word, which
    `aegis forget` removes."""

    agent: str
    subject: str
    task_type: str
    usd: Usd
    count: int
    seconds: float = 0.0
    tool: str = ""


@dataclass(slots=True)
class Finding:
    """What one detector says of one day.

    Attributes:
        id: the day and the detector; `aegis kaizen explain` takes it.
        state: ``found``; ``clean``: there was enough to look at, and nothing was lost; ``too_few``: there was not;
            ``unknown``: it cannot be known from what was recorded; ``failed``: the detector itself did.
        amount_usd: all that this detector found, None where it is not known. `interval` is how sure that is.
        at_most: the amount is an upper bound.
        avoidable: else it says what something cost, not what could have been saved.
        counted_usd: what of it is in the sum: of requests that no detector before it had counted.
        seconds: time that was waited.
        evidence: so many of `counted` there were, of the `minimum` that are needed.
        count: so many places; `where` are the dearest, `events` some that prove it.
    """

    id: str
    detector: str
    title: str
    currency: Currency
    state: State
    note: str = ""
    amount_usd: Usd | None = None
    interval: Interval | None = None
    at_most: bool = False
    avoidable: bool = True
    counted_usd: Usd | None = None
    seconds: float | None = None
    evidence: int = 0
    minimum: int = 0
    counted: str = ""
    count: int = 0
    where: tuple[Place, ...] = ()
    events: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class Proposal:
    """A change that a finding suggests. It is only proposed.

    Attributes:
        change: what would be changed, as data; `kind` says which kind of change.
        saving: what it would have saved on this day; None where nobody can say.
        backtest: how the change can be tried on what was recorded before it is made.
        rollback: the way back.
    """

    id: str
    finding: str
    verb: Verb
    title: str
    change: dict[str, Any]
    saving_usd: Usd | None
    saving: Interval | None
    risk: str
    backtest: str
    rollback: str


@dataclass(slots=True)
class KaizenReport:
    """A day, closed at the tenant's midnight.

    Attributes:
        day: the date in the tenant's zone, or the name of a trace.
        spent_usd: what all requests that ended on this day cost.
        found_usd: the sum of what is avoidable and found in it, each request counted once.
        corrected_usd: how much less (or more, below 0) was due for earlier days than their reports say.
        missed: so many events were gone before they were read; what they told is in nothing here.
        through: the id of the last event that is in it, after `after`.
        experiments: those that were open or certified when it was closed, and those that ended on that day.
    """

    day: str
    since: datetime
    until: datetime
    spent_usd: Usd
    found_usd: Usd
    corrected_usd: float
    calls: int
    sessions: int
    missed: int
    findings: tuple[Finding, ...]
    proposals: tuple[Proposal, ...]
    after: str = "0"
    through: str = "0"
    notes: tuple[str, ...] = ()
    version: int = 1
    experiments: tuple[Experiment, ...] = ()


@dataclass(slots=True)
class Explanation:
    """A finding, and what was proposed because of it."""

    finding: Finding
    proposals: tuple[Proposal, ...]


class KaizenQuery(Message):
    """Which day; by default the last one that is closed."""

    day: Annotated[Date | None, Field(description="A date in the tenant's zone")] = None
