"""A tenant's store as the doors see it: what they ask beside the messages that a governor answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis_core.governor.counts import TenantCounts, counts_of
from aegis_core.governor.credentials import caller_of
from aegis_core.governor.event_words import told_events
from aegis_core.governor.standing import Standing, blocked_names, standing_of
from aegis_core.governor.verdicts import grant_key
from aegis_core.protocol.events import Event
from aegis_core.store import layout
from aegis_core.store.channels import ChannelHealth, ChannelStore, Direction, DirectionHealth
from aegis_core.store.ledger import Ledger
from aegis_core.store.operator_verbs import NoteLogin
from aegis_core.store.records import ShownNotice
from aegis_core.store.verbs import TakeQuestion

if TYPE_CHECKING:
    from aegis_core.governor.delivering import Deliveries

__all__ = ["ChannelHealth", "ChannelStore", "Direction", "DirectionHealth", "ShownNotice", "TenantStore"]


class TenantStore:
    """One tenant on one store."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.tenant = ledger.tenant

    @property
    def pepper(self) -> bytes:
        """What secrets are hashed with on this store; never shown."""
        return self._ledger.store.pepper

    async def ping(self) -> str:
        """Ask the server whether it answers and takes writes, and say its product and version.

        Raises:
            StoreError: it does not. StateLostError: it does, and this tenant is gone.
        """
        store = self._ledger.store
        await store.state.admit(self.tenant)
        await store.command("SET", layout.SCHEMA_KEY, layout.SCHEMA, "NX")  # it is there, so nothing is changed
        return f"{store.server.product} {store.server.version}"

    def check_token(self, token: str | None) -> None:
        """See that a session token has the form of one; None is no token at all.

        Raises:
            AuthError: it has not.
        """
        caller_of(token, self.pepper)

    async def agent_of(self, token: str | None) -> str:
        """The agent for whom a session token speaks.

        Raises:
            AuthError: the token is wrong, or its session has ended.
        """
        return await self._ledger.agent_of(caller_of(token, self.pepper))

    async def take_question(self, grant_id: str, name: str) -> bool:
        """Whether what was approved is the caller's to use, of all that joined its question under that name."""
        order = TakeQuestion(grant_key(grant_id), name)
        return bool((await self._ledger.call(self._ledger.store.scripts.take_question, order))[1])

    async def count_open(self) -> int:
        """Grants and questions that are open. SCAN reads them in bounded steps, so that no request waits for it."""
        name, found, cursor = layout.key(self.tenant, "d"), set[bytes](), b"0"
        while True:  # open records stand among the deadlines
            cursor, page = await self._ledger.store.command("ZSCAN", name, cursor, "MATCH", "r:*", "COUNT", 1_000)
            found.update(member for member, _ in page)
            if int(cursor) == 0:
                return len(found)

    async def standing(self) -> Standing:
        """What operators have set for the whole tenant."""
        return await standing_of(self._ledger)

    async def blocked(self) -> list[str]:
        """Agents that are blocked, by name, at most 20 of them."""
        return await blocked_names(self._ledger)

    async def counts(self) -> TenantCounts:
        """What the scripts counted, and how things stand."""
        return await counts_of(self._ledger)

    async def newest_event(self) -> str:
        """The id of the newest event, ``0-0`` before the first."""
        return await self._ledger.newest_event()

    async def entries(self, after: str, most: int, wait: float | None) -> list[tuple[str, dict[bytes, bytes]]]:
        """Events after an id as they are stored, for readers that look at few of them; waits up to `wait` seconds."""
        block = None if wait is None else int(min(wait, self._ledger.store.timeout / 2) * 1000)
        return await self._ledger.events(after, most, block)

    async def note_login(self, address: str, why: str, times: int) -> None:
        """Tell that so many credentials from one address did not hold. Of a flood only every tenth power is an event.

        Raises:
            StoreError: nobody could be told.
        """
        store = self._ledger.store
        await self._ledger.call(store.scripts.note_login, NoteLogin(address, why, times))

    async def told(self, entry_id: str, fields: dict[bytes, bytes]) -> Event:
        """One of `entries` as an event, with what its agent wrote."""
        return (await told_events(self._ledger, [(entry_id, fields)]))[0]

    def channel_store(self, channel: str) -> ChannelStore:
        """What a channel remembers of this tenant."""
        return ChannelStore(self._ledger, channel)

    @property
    def deliveries(self) -> Deliveries:
        """What operators see and do of webhooks for events; an HTTP client comes with it."""
        from aegis_core.governor.delivering import Deliveries

        return Deliveries(self._ledger)
