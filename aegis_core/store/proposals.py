"""Proposals as they lie in Redis."""

from __future__ import annotations

from typing import NamedTuple

from aegis_core.store import layout
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack
from aegis_core.store.proposal_records import StoredProposal
from aegis_core.store.proposal_verbs import PutProposal


class Put(NamedTuple):
    """What there is of a proposal now, and whether this call made it so."""

    stored: StoredProposal | None
    done: bool


class ProposalStore:
    """The proposals of one tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._script = ledger, ledger.store.scripts.put_proposal

    async def put(self, order: PutProposal) -> Put:
        """Take one step, if the proposal still has that revision.

        Raises:
            ConflictError: another policy is in force than the one that would be changed, or another change is tried.
        """
        _, blob, done = await self._ledger.call(self._script, order)
        return Put(decode(StoredProposal, unpack(blob)) if blob else None, bool(done))

    async def one(self, name: str) -> StoredProposal | None:
        """One of them."""
        blob = await self._ledger.store.command("HGET", layout.key(self._ledger.tenant, "kp"), name)
        return decode(StoredProposal, unpack(blob)) if blob else None

    async def all(self) -> list[tuple[str, StoredProposal]]:
        """All that are kept, the newest first."""
        found = await self._ledger.store.command("HGETALL", layout.key(self._ledger.tenant, "kp"))
        rows = [(name.decode(), decode(StoredProposal, unpack(blob))) for name, blob in dict(found).items()]
        return sorted(rows, key=lambda row: (-row[1].made, row[0]))
