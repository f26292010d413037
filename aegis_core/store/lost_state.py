"""A Redis that came back without what it held, or that may forget some of it: nothing is granted on it.

Every budget would start anew. One process of all asks the server every few seconds, away from all decisions, and writes
what it found to where decisions read it: into the record of each tenant. Whether what a process has known is still
there each sees for itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aegis_core.protocol.errors import AegisError, StateLostError, StoreError
from aegis_core.store import layout
from aegis_core.store.server_facts import NEVER, ServerFacts, changes
from aegis_core.store.server_verbs import NoteServer

if TYPE_CHECKING:
    from aegis_core.store.store import Store

LOOK_SECONDS = 3.0
"""How long a change of the server may go unseen."""
_LEASE_LOOKS = 3
"""After so many looks that a process did not take, another one looks for all."""

_log = logging.getLogger("aegis.store")


class KnownState:
    """Which tenants this process has found on its store, and whether they are gone.

    Attributes:
        lost: some are; until they are there again, every call looks first.
        evicting: how the server evicts keys, where it does since it was opened; else empty.
    """

    def __init__(self, store: Store) -> None:
        self.lost, self.evicting = False, ""
        self._store, self._birth, self._name = store, b"", b""
        self._seen: ServerFacts | None = None
        self._tenants: set[str] = set()

    async def begin(self, proposal: str) -> None:
        """Agree on a name for what the database holds now; one that was emptied and used again has another."""
        await self._store.command("SET", layout.BIRTH_KEY, proposal, "NX")
        self._birth, self._name = await self._store.command("GET", layout.BIRTH_KEY), proposal.encode()
        if (await self._store.command("GET", layout.SERVER_KEY) or NEVER.encode()) != NEVER.encode():
            await self._write("")  # it was just seen that it evicts nothing, and whoever found otherwise may be gone

    def found(self, tenant: str) -> None:
        """A tenant is there."""
        self._tenants.add(tenant)

    def knows(self, tenant: str) -> bool:
        """Whether it was."""
        return tenant in self._tenants

    @property
    def closed(self) -> bool:
        """Whether `admit` is to be asked before something is granted."""
        return self.lost or bool(self.evicting)

    async def admit(self, tenant: str) -> None:
        """See that grants may be made for a tenant.

        Raises:
            StateLostError: as `check`. StoreError: the server may forget what is granted.
        """
        await self.check(tenant)
        if self.evicting:
            raise evicting(self.evicting)

    async def look(self) -> None:
        """Find out what changed on the server since it was opened.

        Raises:
            AegisError: it cannot be asked.
        """
        if self._tenants and await self._store.command("GET", layout.BIRTH_KEY) != self._birth:
            self.gone(next(iter(self._tenants)))
        try:
            leads = await self._leads()
        except StoreError:  # it takes no writes, so each looks for itself
            await self._tell_changes()
            return
        if leads:
            await self._look_for_all()
        elif (found := await self._store.command("GET", layout.SERVER_KEY)) is not None:
            self.evicting = "" if found.decode() == NEVER else found.decode()

    async def _leads(self) -> bool:
        """Whether this process looks for all: whoever took the lease goes on, until it stops."""
        lease = int(_LEASE_LOOKS * LOOK_SECONDS * 1_000)
        if await self._store.command("SET", layout.LOOKER_KEY, self._name, "NX", "PX", lease):
            return True
        if await self._store.command("GET", layout.LOOKER_KEY) != self._name:
            self._seen = None
            return False
        await self._store.command("PEXPIRE", layout.LOOKER_KEY, lease)
        return True

    async def _tell_changes(self) -> ServerFacts:
        now, before = await self._store.facts(), self._seen or self._store.server
        self._seen, self.evicting = now, now.evicting
        for worse, text in changes(before, now):
            facts = {"store": self._store.address.shown, "maxmemory_policy": now.eviction}
            _log.log(logging.ERROR if worse else logging.WARNING, text, extra={"facts": facts})
        return now

    async def _look_for_all(self) -> None:
        now = await self._tell_changes()
        written = await self._store.command("GET", layout.SERVER_KEY)
        if now.evicting or written is None or written.decode() != now.eviction:
            await self._write(now.evicting)

    async def _write(self, evicts: str) -> None:
        """Let the decisions of every tenant know; the key for the other processes comes last, so that a look that ends
        half-way is taken again."""
        for tenant in await self._store.command("SMEMBERS", layout.TENANTS_KEY):
            script = self._store.scripts.note_server
            await self._store.run(script, layout.root(tenant.decode()), NoteServer(evicts))
        await self._store.command("SET", layout.SERVER_KEY, evicts or NEVER)

    def gone(self, tenant: str) -> StateLostError:
        """Note that a known tenant is not there any more; the error to raise."""
        if not self.lost:
            self.lost = True
            facts = {"tenant": tenant, "store": self._store.address.shown}
            _log.error("Redis lost its state; nothing is decided until it is restored", extra={"facts": facts})
        return lost(tenant)

    async def check(self, tenant: str) -> None:
        """See that what is known of a tenant is what the store holds.

        Raises:
            StateLostError: it is gone, or it is not the same that it was.
        """
        if tenant not in self._tenants:
            return
        there = await self._store.command("EXISTS", layout.root(tenant))
        if not there or await self._store.command("GET", layout.BIRTH_KEY) != self._birth:
            raise self.gone(tenant)
        self.lost = False


@asynccontextmanager
async def watched_state(state: KnownState) -> AsyncGenerator[None]:
    """Look every few seconds in the block."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(AegisError):  # who asks for a decision hears of that by itself
                await state.look()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def evicting(policy: str) -> StoreError:
    """The error while a server may evict keys."""
    return StoreError(
        f"Redis may evict keys (maxmemory-policy {policy}), and with them budgets; no decision was made. Mend it: "
        f"redis-cli CONFIG SET maxmemory-policy {NEVER}",
        reason="evicting",
    )


def lost(tenant: str) -> StateLostError:
    """The error for a tenant whose state is gone."""
    return StateLostError(
        f"Redis no longer holds the state of tenant {tenant}: it was emptied, or another volume is mounted. No "
        "decision was made, for every budget would start anew. Restore a backup; or accept the loss with "
        "`aegis restore --accept-loss`, and restart what runs.",
        reason="state_lost",
        tenant=tenant,
    )


def part_lost(what: str) -> StateLostError:
    """The error for a record that is gone while the rest is there, as eviction leaves it."""
    return StateLostError(
        f"Redis no longer holds the record of {what}, which it held: it was evicted or deleted, with what was spent. "
        "No decision was made. Restore a backup; or let it begin anew with `aegis restore --accept-loss`.",
        reason="state_lost",
    )


async def see_unregistered(store: Store, tenant: str, agent: object) -> None:
    """See that an agent without a record never was registered.

    Raises:
        StateLostError: it was.
    """
    if not isinstance(agent, str) or await store.command("ZSCORE", layout.key(tenant, "ag"), agent) is None:
        return
    if not await store.command("EXISTS", layout.key(tenant, f"a:{agent}")):  # else it was registered just now
        raise part_lost(f"agent {agent}")
