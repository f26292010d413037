"""The policy in force as it is read, with what is tried instead of it in some sessions."""

from __future__ import annotations

from typing import NamedTuple

from aegis_core.store.ledger import Ledger
from aegis_core.store.operator_verbs import ReadPolicy
from aegis_core.store.packing import decode, unpack
from aegis_core.store.proposal_records import Canary
from aegis_core.store.schema import StoredPolicy


class RulesRead(NamedTuple):
    """Version and document in force; the `canary` and the document that is `tried`, where there is one."""

    version: int
    document: str
    canary: Canary | None = None
    tried: str | None = None


async def read_rules(ledger: Ledger) -> RulesRead:
    """The policy in force, and what is tried instead of it in some sessions. A canary whose document is gone is none.

    Raises:
        NotFoundError: there is no such tenant.
    """
    answer = await ledger.call(ledger.store.scripts.read_policy, ReadPolicy(None))
    policy = decode(StoredPolicy, unpack(answer[1]))
    if len(answer) < 6 or not answer[4] or not answer[5]:
        return RulesRead(policy.version, policy.document)
    tried = decode(StoredPolicy, unpack(answer[5]))
    return RulesRead(policy.version, policy.document, decode(Canary, unpack(answer[4])), tried.document)
