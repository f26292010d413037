"""A Redis that came back without what it held: nothing is decided on it, for every budget would start anew."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aegis_core.protocol.errors import StateLostError
from aegis_core.store import layout

if TYPE_CHECKING:
    from aegis_core.store.store import Store

_log = logging.getLogger("aegis.store")


class KnownState:
    """Which tenants this process has found on its store, and whether they are gone.

    Attributes:
        lost: some are; until they are there again, every call looks first.
    """

    def __init__(self, store: Store) -> None:
        self.lost = False
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


def lost(tenant: str) -> StateLostError:
    """The error for a tenant whose state is gone."""
    return StateLostError(
        f"Redis no longer holds the state of tenant {tenant}: it was emptied, or another volume is mounted. No "
        "decision was made, for every budget would start anew. Restore a backup; or accept the loss with "
        "`aegis restore --accept-loss`, and restart what runs.",
        reason="state_lost",
        tenant=tenant,
    )
