"""What closing days needs of a tenant. `governor.kaizen_days` implements it on Redis."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from aegis_core.kaizen.facts import Certified, Rates, RuleUse
from aegis_core.protocol.events import Event
from aegis_core.protocol.experiments import Experiment
from aegis_core.protocol.kaizen import KaizenReport


class DayLease(NamedTuple):
    """The right to close days. A holder with an older `fence` can write nothing any more.

    `cursor` is the id of the last event that is in a report, `number` its number, `day` the last closed day as an
    ordinal (None: none), `now` the server's time in ms, `zone` the tenant's.
    """

    fence: int
    cursor: str
    number: int
    day: int | None
    now: int
    zone: str


class Surroundings(NamedTuple):
    """What is kept longer than events: the rules in force, and what agents spent in such hours; and what became of
    proposals on that day; see `Day`."""

    rules: Mapping[str, RuleUse] | None
    hours: Mapping[tuple[str, int], tuple[int, ...]]
    certified: Mapping[tuple[str, str], Certified] = MappingProxyType({})
    experiments: tuple[Experiment, ...] = ()
    saving: int = 0
    notes: tuple[str, ...] = ()


class ClosedDay(NamedTuple):
    """What is written at once: the report of `day`, made of the events after `before` up to `cursor`."""

    before: str
    last: int | None
    cursor: str
    number: int
    day: int
    report: KaizenReport


class KaizenPort(Protocol):
    """Events of a tenant, and the reports of its days."""

    async def hold(self, seconds: float) -> DayLease | None:
        """Take or keep the lease; None while somebody else has it."""
        ...

    async def page(self, after: str, most: int) -> tuple[Event, ...]:
        """Events after one, in their order, with what agents wrote where it is kept."""
        ...

    async def back(self, to: str, most: int) -> tuple[Event, ...]:
        """Events up to one, that one included, the newest first; ``0``: none."""
        ...

    async def reported(self, day: int) -> bool:
        """Whether there is a report of a day, which nothing may replace."""
        ...

    async def surroundings(self, start: int, end: int) -> Surroundings:
        """What is known around a day."""
        ...

    def rates(self, model: str) -> Rates | None:
        """What a model costs; None where nobody knows."""
        ...

    async def commit(self, fence: int, closed: ClosedDay) -> bool:
        """Store a report and move on in one step; false where fence, cursor or day are not the stored ones any more."""
        ...

    async def decide(self) -> int:
        """Decide on experiments as the days that are over left them; answers how many came into another state."""
        ...

    async def leave(self) -> None:
        """Give the lease up, so that another process goes on at once."""
        ...
