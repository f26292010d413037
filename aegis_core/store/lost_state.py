"""A Redis that came back without what it held, or that may forget some of it: nothing is granted on it.

Every budget would start anew. Each process looks every few seconds, away from all decisions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aegis_core.protocol.errors import AegisError, StateLostError, StoreError
from aegis_core.store import layout

if TYPE_CHECKING:
    from aegis_core.store.store import Store

LOOK_SECONDS = 3.0
"""How long a change of the server may go unseen."""

_log = logging.getLogger("aegis.store")


class KnownState:
    """Which tenants this process has found on its store, and whether they are gone.

    Attributes:
        lost: some are; until they are there again, every call looks first.
        evicting: how the server evicts keys, where it does since it was opened; else empty.
    """

    def __init__(self, store: Store) -> None:
        self.lost, self.evicting = False, ""
        self._store, self._birth = store, b""
        self._tenants: set[str] = set()

    async def begin(self, proposal: str) -> None:
        """Agree on a name for what the database holds now; one that was emptied and used again has another."""
        await self._store.command("SET", layout.BIRTH_KEY, proposal, "NX")
        self._birth = await self._store.command("GET", layout.BIRTH_KEY)

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
            raise StoreError(
                f"Redis may evict keys (maxmemory-policy {self.evicting}), and with them budgets; no decision was "
                "made. Mend it: redis-cli CONFIG SET maxmemory-policy noeviction",
                reason="evicting",
            )

    async def look(self) -> None:
        """Find out what changed on the server since it was opened.

        Raises:
            AegisError: it cannot be asked.
        """
        evicting = await self._store.eviction()
        if evicting != self.evicting:
            self.evicting = evicting
            facts = {"store": self._store.address.shown, "maxmemory_policy": evicting or "noeviction"}
            if evicting:
                _log.error("Redis may evict keys; nothing is granted until it may not", extra={"facts": facts})
            else:
                _log.warning("Redis evicts no keys any more", extra={"facts": facts})
        if self._tenants and await self._store.command("GET", layout.BIRTH_KEY) != self._birth:
            self.gone(next(iter(self._tenants)))

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
