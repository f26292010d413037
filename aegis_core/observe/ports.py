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


class RetentionPort(Protocol):
    """What is too old goes."""

    async def trim(self, agents: int) -> int:
        """Remove events that are older than they may be, and the words of events that are gone, of so many agents at a
        time; answers how many events went."""
        ...
