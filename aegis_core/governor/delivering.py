"""How events of a tenant reach webhooks, on Redis, and what operators see and do of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis_core.governor.budgets import at_ms
from aegis_core.governor.event_reader import EventReader
from aegis_core.observe.cloud_events import MEDIA_TYPE, message_id, written
from aegis_core.observe.destinations import Destination, destinations
from aegis_core.observe.pace import Pace
from aegis_core.observe.ports import Lease, NotSent, Sent, Tried
from aegis_core.observe.posting import Poster
from aegis_core.observe.sender import EventSender
from aegis_core.protocol.errors import ChannelError, NotFoundError
from aegis_core.protocol.events import Event, EventQuery, moment
from aegis_core.protocol.parsing import parse
from aegis_core.settings import Settings
from aegis_core.store.deliveries import DeadLetter, DeliveryState, DeliveryStore, served_destinations
from aegis_core.store.ledger import Ledger
from aegis_core.store.operator_verbs import CommitDelivery, FailDelivery, ReplayDelivery

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor

__all__ = ["DeadLetter", "Deliveries", "DeliveryState", "Replayed", "TenantDelivery", "senders"]


class TenantDelivery:
    """One destination of one tenant; as `DeliveryPort` has it."""

    def __init__(self, ledger: Ledger, reader: EventReader, destination: str) -> None:
        self._reader, self._name = reader, destination
        self._store = DeliveryStore(ledger, destination)

    async def hold(self, seconds: float) -> Lease | None:
        """Take or keep the lease; None while somebody else has it."""
        fence, cursor, number = await self._store.hold(seconds)
        return Lease(fence, cursor, number) if fence else None

    async def page(self, after: str, most: int, wait: float) -> tuple[Event, ...]:
        """Events after one, in their order; waits so many seconds for the first."""
        return await self._reader.events(after, most, wait)

    async def is_trimmed(self, after: str) -> bool:
        """Whether retention took some of the events after one."""
        return (await self._reader.find(EventQuery(after=after, limit=1), tell=False)).trimmed

    async def commit(self, fence: int, sent: Sent) -> bool:
        """Move the cursor; false where fence or cursor are not the stored ones any more."""
        return await self._store.commit(CommitDelivery(self._name, fence, *sent))

    async def fail(self, fence: int, failed: NotSent) -> Tried | None:
        """Count a failure; None where fence or cursor are not the stored ones any more."""
        event, patience = failed.event, failed.patience
        order = FailDelivery(
            self._name, fence, failed.before, event.id, event.number or 0, event.kind, failed.problem[:500],
            failed.most or False, False if patience is None else int(patience * 1000), failed.down,
        )  # fmt: skip
        ours, attempts, aside = await self._store.fail(order)
        return Tried(attempts, aside) if ours else None

    async def leave(self) -> None:
        """Give the lease up, so that another process goes on at once."""
        await self._store.hold(0)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of an event that was put aside. Without a problem it was taken."""

    letter: DeadLetter
    problem: str = ""


class Deliveries:
    """What operators see and do of webhooks for events."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._reader = ledger, EventReader(ledger)

    def port(self, name: str) -> TenantDelivery:
        """What a sender needs of the destination of this name."""
        return TenantDelivery(self._ledger, self._reader, name)

    async def names(self) -> list[str]:
        """Destinations that are served, or were within 30 days."""
        return await served_destinations(self._ledger)

    async def state(self, name: str) -> DeliveryState:
        """How a destination is served now."""
        return await DeliveryStore(self._ledger, name).state()

    async def dead_letters(self, name: str) -> list[DeadLetter]:
        """What a destination did not take, the first put aside first."""
        return await DeliveryStore(self._ledger, name).dead_letters()

    async def replay(self, destination: Destination, *, by: str, pace: Pace | None = None) -> list[Replayed]:
        """Post what was put aside once more, in its order. What is taken is put aside no longer; at the first that
        finds the receiver down, it ends."""
        store, found = DeliveryStore(self._ledger, destination.name), list[Replayed]()
        poster = Poster(destination.receiver, timeout=(pace or Pace()).send)
        try:
            for letter in await store.dead_letters():
                event = await self._reader.one(letter.event_id)
                if event is None:
                    found.append(Replayed(letter, "the event is kept no longer"))
                    continue
                try:
                    await poster.post(message_id(event), written(event), MEDIA_TYPE)
                except ChannelError as error:
                    found.append(Replayed(letter, error.message))
                    if error.everything:
                        break
                    continue
                await store.drop(letter.entry)
                found.append(Replayed(letter))
        finally:
            await poster.aclose()
        if taken := sum(not each.problem for each in found):
            await store.replay(ReplayDelivery(destination.name, None, 0, False, taken, by))
        return found

    async def go_back(self, name: str, since: str, *, by: str) -> int:
        """Let a destination be told again of everything since a time (see `EventQuery`), from its sender. Answers how
        many events that are, wanted or not.

        Raises:
            NotFoundError: it was never served, or nothing happened since then.
        """
        store = DeliveryStore(self._ledger, name)
        page, state = await self._reader.find(parse(EventQuery, since=since, limit=1)), await store.state()
        if not page.events or not state.cursor:
            raise NotFoundError(f"Nothing since {since} is kept, or nobody serves {name}.", kind="webhook", name=name)
        first = page.events[0]
        number = (first.number or 1) - 1
        when = moment(since, at_ms(await self._ledger.now())).isoformat()
        again = state.number + state.behind - number
        await store.replay(ReplayDelivery(name, _before(first.id), number, when, again, by))
        return again


def senders(governor: ResourceGovernor, settings: Settings, pace: Pace | None = None) -> list[EventSender]:
    """One for each webhook of the settings. Raises ConfigurationError: as `destinations`."""
    pace = pace or Pace(give_up=settings.event_webhook_give_up_seconds)
    return [
        EventSender(each, governor.tenant_store.deliveries.port(each.name), pace) for each in destinations(settings)
    ]


def _before(event_id: str) -> str:
    """The last place before an event."""
    at, _, number = event_id.partition("-")
    return f"{at}-{int(number) - 1}" if int(number) else f"{int(at) - 1}-{10**18}"
