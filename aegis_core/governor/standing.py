"""What operators have set for a whole tenant, and who is blocked: what one must know before wondering at refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aegis_core.store import layout
from aegis_core.store.packing import decode, unpack
from aegis_core.store.schema import Tenant

if TYPE_CHECKING:
    from aegis_core.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands.

    Attributes:
        status: ``halted`` while every agent is refused.
        mode: ``observe`` while rules and budgets only say what they would decide.
        policy_version: of the policy in force.
        keys: API keys in force; from the first on the HTTP API asks for one.
        blocked_agents: how many agents are blocked.
    """

    status: Literal["active", "halted"]
    mode: Literal["enforce", "observe"]
    policy_version: int
    keys: int
    blocked_agents: int


async def standing_of(ledger: Ledger) -> Standing:
    """Look: two commands, whatever the size of the tenant.

    Raises:
        StoreError: Redis could not be asked.
    """
    command, tenant = ledger.store.command, ledger.tenant
    record = decode(Tenant, unpack(await command("GET", layout.key(tenant, "t"))))
    blocked = int(await command("SCARD", layout.key(tenant, "bl")))
    return Standing(
        "halted" if record.status == "halted" else "active", "observe" if record.mode == "observe" else "enforce",
        record.policy, record.keys, blocked,
    )  # fmt: skip


async def blocked_names(ledger: Ledger, most: int = 20) -> list[str]:
    """Agents that are blocked, by name."""
    found: list[bytes] = list(await ledger.store.command("SMEMBERS", layout.key(ledger.tenant, "bl")))
    return sorted(name.decode() for name in found)[:most]
