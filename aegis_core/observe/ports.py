"""What observers need of a tenant. `governor.observing` implements them on Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from aegis_core.observe.sums import HourSums
from aegis_core.protocol.events import Event


class Lease(NamedTuple):
    """The right to count. A holder with an older `fence` can write nothing any more.

    `cursor` is the id of the last event that was counted, `number` its number.
    """

    fence: int
    cursor: str
    number: int


class Counted(NamedTuple):
    """What is written at once: the sums of the events after `before` up to `cursor`, the last of this `number`;
    `missed` were gone by then."""

    before: str
    cursor: str
    number: int
    missed: int
    hours: Sequence[HourSums]


class RollupPort(Protocol):
    """Events of a tenant, and the sums of them."""

    async def hold(self, seconds: float) -> Lease | None:
        """Take or keep the lease; None while somebody else has it."""
        ...

    async def page(self, after: str, most: int) -> tuple[Event, ...]:
        """Events after one, in their order, without what agents wrote."""
        ...

    async def commit(self, fence: int, counted: Counted) -> bool:
        """Add sums and move the cursor in one step; false where fence or cursor are not the stored ones any more."""
        ...

    async def leave(self) -> None:
        """Give the lease up, so that another process goes on at once."""
        ...


class Sent(NamedTuple):
    """What became of the events after `before` up to `cursor`, the last of this `number`: so many were `sent`, of the
    others nobody wanted to hear; those of the numbers from `first` to `last` were gone, if there are any."""

    before: str
    cursor: str
    number: int
    sent: int
    first: int = 1
    last: int = 0


class NotSent(NamedTuple):
    """An event after `before` that was not taken. Put aside it is after `most` attempts, or once it was tried for
    `patience` seconds; None: not for that. `down`: no other would be taken, either."""

    before: str
    event: Event
    problem: str
    most: int | None
    patience: float | None
    down: bool


class Tried(NamedTuple):
    """How often an event was tried by now, and whether it was put aside."""

    attempts: int
    aside: bool


class DeliveryPort(Protocol):
    """The events of a tenant for one destination, and how far it was told of them."""

    async def hold(self, seconds: float) -> Lease | None:
        """Take or keep the lease; None while somebody else has it. The cursor of a destination that is held for the
        first time is the newest event."""
        ...

    async def page(self, after: str, most: int, wait: float) -> tuple[Event, ...]:
        """Events after one, in their order; waits so many seconds for the first."""
        ...

    async def is_trimmed(self, after: str) -> bool:
        """Whether retention took some of the events after one."""
        ...

    async def commit(self, fence: int, sent: Sent) -> bool:
        """Move the cursor; false where fence or cursor are not the stored ones any more."""
        ...

    async def fail(self, fence: int, failed: NotSent) -> Tried | None:
        """Count a failure; None where fence or cursor are not the stored ones any more."""
        ...

    async def leave(self) -> None:
        """Give the lease up, so that another process goes on at once."""
        ...


class RetentionPort(Protocol):
    """What is too old goes."""

    async def trim(self, agents: int) -> int:
        """Remove events that are older than they may be, and the words of events that are gone, of so many agents at a
        time; answers how many events went."""
        ...
