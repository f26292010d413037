"""What happened hour by hour: sums of the events, as observers read them, and what they may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from aegis_core.protocol.events import Moment
from aegis_core.protocol.fields import Identifier, Usd
from aegis_core.protocol.parsing import Message

Dimension = Literal["agent", "model", "task_type", "rule", "lock", "labels"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
OTHERS = "*"
"""What rows are called that were too many for an hour: their sums are in one of this name."""


def _grouping(text: str) -> str:
    names = text.split(",")
    if len(set(names)) < len(names):
        raise ValueError("names something twice")
    for name in names:
        if name not in {"hour", *DIMENSIONS} and not name.startswith("label:"):
            raise ValueError(f"must be of hour, {', '.join(DIMENSIONS)} or label:NAME, with commas; not {name!r}")
    return text


Grouping = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_grouping)]


@dataclass(slots=True)
class Activity:
    """Sums of events. Money in dollars, times in seconds; what is called `tokens` as providers reported it.

    Attributes:
        requests: decisions, of which `granted`, `pending` (for a person or a lock) and `rejected`; refusals that were
            counted together are counted one by one.
        asked_usd: what those asked for.
        settled: grants that ended with what was spent, of which `overruns` above their reservation and `late` ones.
        released, expired, declined, timed_out, approved: how grants and questions ended otherwise.
        reserved_usd: what was reserved for grants that were charged; `charged_usd`: what they cost, of which
            `estimated_usd`; `expired_usd`: of that, because nobody ended them; `refunded_usd`: taken back since.
        outcome: the sum of `outcomes` scores of 0 to 1.
        retries: calls that were no first attempt, for `retried_usd`; `errors`: that ended in one.
        latency_seconds: of `latencies` calls; answer_seconds: until a person answered, of approved and declined.
        leases: locks that were taken; `waited_seconds` for them, `held_seconds` until they were given back, and how
            many were `lost` before that.
    """

    requests: int = 0
    granted: int = 0
    pending: int = 0
    rejected: int = 0
    asked_usd: Usd = Decimal(0)
    settled: int = 0
    overruns: int = 0
    late: int = 0
    released: int = 0
    expired: int = 0
    approved: int = 0
    declined: int = 0
    timed_out: int = 0
    reserved_usd: Usd = Decimal(0)
    charged_usd: Usd = Decimal(0)
    estimated_usd: Usd = Decimal(0)
    expired_usd: Usd = Decimal(0)
    refunded_usd: Usd = Decimal(0)
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    outcomes: int = 0
    outcome: float = 0
    retries: int = 0
    retried_usd: Usd = Decimal(0)
    errors: int = 0
    latencies: int = 0
    latency_seconds: float = 0
    answer_seconds: float = 0
    leases: int = 0
    waited_seconds: float = 0
    held_seconds: float = 0
    lost: int = 0


@dataclass(slots=True)
class ActivityRow:
    """The sums of one group; `names` says of which, by what was grouped by."""

    names: dict[str, str]
    sums: Activity = field(default_factory=Activity)


@dataclass(slots=True)
class ActivityPage:
    """The groups that were charged most, the dearest first.

    Attributes:
        total: the sums of all groups, those that `rows` has no place for included.
        counted_to: the id of the last event that is in the sums; later ones come into them as they are read.
        behind: so many events are not in them yet.
        missed: so many events were gone, by the number that is kept, before anybody had counted them.
    """

    rows: tuple[ActivityRow, ...]
    total: Activity
    since: datetime
    until: datetime
    counted_to: str = "0"
    behind: int = 0
    missed: int = 0


class ActivityQuery(Message):
    """Which hours to sum up, and by what. Everything given must hold.

    `since` and `until` are times as of events; whole hours in UTC are summed, the one of `until` included where it is
    begun. `by` is of ``hour``, ``agent``, ``model``, ``task_type``, ``rule``, ``lock``, ``labels`` or ``label:NAME``,
    several with commas.
    """

    since: Moment = "24h"
    until: Moment | None = None
    by: Grouping = "agent"
    agent: Identifier | None = None
    model: Identifier | None = None
    task_type: Identifier | None = None
    rule: Identifier | None = None
    lock: Identifier | None = None
    limit: Annotated[int, Field(ge=1, le=5_000)] = 100
