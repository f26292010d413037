"""What operators do: profiles, brakes, keys, policy versions. Each act is one event with its author."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.governor.budgets import at_ms, checked
from aegis_core.governor.credentials import hash_secret, of_tenant
from aegis_core.governor.proxy_keys import PROXY, ProxyKeys
from aegis_core.governor.verdicts import grant_key
from aegis_core.policy.engine import Policy
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import Reason
from aegis_core.protocol.errors import AuthError, NotFoundError
from aegis_core.protocol.fields import Identifier, Usd
from aegis_core.protocol.ids import unspelt
from aegis_core.protocol.masking import mask_text
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.protocol.parsing import Message, parse
from aegis_core.protocol.profiles import Profile, ProfileSet, load_profiles
from aegis_core.store.arguments import EstimatesRow, PaceRow
from aegis_core.store.layout import TENANTS_KEY
from aegis_core.store.operator_verbs import PutKey
from aegis_core.store.operator_verbs import Refund as RefundOrder
from aegis_core.store.operators import OperatorStore
from aegis_core.store.schema import Key
from aegis_core.store.states import STATE_OF

Role = Literal["agent", "operator"]
_KEY = re.compile(
    r"aegis_key_(?P<id>k[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})_(?P<tenant>[\w.:@/%-]{1,1536})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as operators see it. `secret` is the key itself, and only there when it was just made."""

    key_id: str
    role: Role
    name: str
    author: str
    made_at: datetime
    revoked_at: datetime | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One version of the policy in the history."""

    version: int
    digest: str
    author: str
    at: datetime
    rules: int
    parent: int | None


@dataclass(frozen=True, slots=True)
class OpenRecord:
    """Something that was open when a brake was pulled, and what became of it."""

    grant_id: str
    agent_id: str
    state: str
    amount_usd: Decimal
    expires_at: datetime


class RefundWish(Message):
    """How much to take back of what a grant was charged, and why. The same `refund_id` again changes nothing."""

    usd: Annotated[Usd, Field(gt=0)]
    reason: Reason = ""
    refund_id: Identifier | None = None


@dataclass(frozen=True, slots=True)
class Refund:
    """Some of what a grant was charged, taken back. `refunded_usd` is all that was, this included.

    `repeated`: this refund was made before, and this call changed nothing.
    """

    grant_id: str
    agent_id: str
    refund_usd: Decimal
    charged_usd: Decimal
    refunded_usd: Decimal
    repeated: bool = False


class Operator:
    """The operator's side of one tenant. Its holder is trusted: over HTTP, a key or secret stands before it."""

    def __init__(self, registry: OperatorStore) -> None:
        self._registry = registry
        self.tenant = registry.tenant
        self.proxy_keys = ProxyKeys(registry)

    async def profiles(self) -> ProfileSet:
        """The profiles in force."""
        return load_profiles((await self._registry.read_profiles())[1])

    async def set_profiles(self, profiles: ProfileSet, *, author: str) -> int:
        """Put a whole set of profiles in force, at each agent's very next request; answers the version."""
        return await self._registry.publish_profiles(profiles.model_dump_json(exclude_defaults=True), author)

    async def set_profile(self, profile: Profile, *, author: str) -> int:
        """Add or replace one profile."""
        return await self.set_profiles((await self.profiles()).with_profile(profile), author=author)

    async def block(self, agent_id: str, *, author: str) -> list[OpenRecord]:
        """Refuse an agent from its next request on. Its questions are declined; its open grants, listed, may settle."""
        return await self._brake(checked(agent_id, "agent_id"), "blocked", author)

    async def unblock(self, agent_id: str, *, author: str) -> None:
        """Let an agent go on."""
        await self._registry.brake(checked(agent_id, "agent_id"), "active", author)

    async def halt(self, *, author: str) -> list[OpenRecord]:
        """Refuse every agent of the tenant from the next request on."""
        return await self._brake(None, "halted", author)

    async def resume(self, *, author: str) -> None:
        """Let the tenant's agents go on."""
        await self._registry.brake(None, "active", author)

    async def _brake(self, agent: str | None, status: str, author: str) -> list[OpenRecord]:
        await self._registry.brake(agent, status, author)
        return [
            OpenRecord("gr_" + key, row.agent, STATE_OF[row.state].word, to_usd(row.amount), at_ms(row.deadline))
            for key, row in await self._registry.open_records(agent, author)
        ]

    async def tenants(self) -> list[str]:
        """Every tenant that was ever opened on this Redis."""
        return sorted(name.decode() for name in await self._registry.store.command("SMEMBERS", TENANTS_KEY))

    async def set_mode(self, mode: Literal["enforce", "observe"], *, author: str) -> None:
        """Enforce policy and budgets, or grant and book everything and say what would have been decided."""
        await self._registry.set_mode(mode, author)

    async def policy_history(self) -> list[PolicyVersion]:
        """The stored versions of the policy, newest first."""
        row = await self._registry.policy_version(None)
        found: list[PolicyVersion] = []
        for version in range(row.version, 0, -1):
            try:
                row = await self._registry.policy_version(version)
            except NotFoundError:
                break
            rules = len(load_policy(row.document, f"policy version {version}").rules)
            found.append(PolicyVersion(version, row.digest, row.author, at_ms(row.at), rules, row.parent or None))
        return found

    async def policy_version(self, version: int | None = None) -> tuple[int, Policy]:
        """A stored version of the policy, by default the one in force."""
        row = await self._registry.policy_version(version)
        return row.version, load_policy(row.document, f"policy version {row.version}")

    async def create_key(self, role: Role, *, name: str, author: str) -> ApiKey:
        """Make an API key. It is shown once; what is stored is its hash."""
        key_id = "k" + secrets.token_hex(8)
        secret = of_tenant(f"aegis_key_{key_id}_{secrets.token_urlsafe(32)}", self.tenant)
        hashed = hash_secret(secret, self._registry.store.pepper)
        await self._registry.put_key(PutKey(key_id, role, hashed, checked(name, "name"), author, "created"))
        made = next(key for key in await self.keys() if key.key_id == key_id)
        return ApiKey(key_id, role, made.name, author, made.made_at, secret=secret)

    async def keys(self) -> list[ApiKey]:
        """All keys, revoked ones included, oldest first; but for those of the proxy, which `proxy_keys` lists."""
        rows = sorted((await self._registry.read_keys())[1], key=lambda row: row.made)
        return [_key(row) for row in rows if row.role != PROXY]

    async def keys_in_force(self) -> int:
        """How many keys are in force; the HTTP server asks for one when there are any."""
        return (await self._registry.read_keys("-"))[0]

    async def revoke_key(self, key_id: str, *, author: str) -> None:
        """End a key at once. Again is harmless."""
        await self._registry.put_key(PutKey(key_id, None, None, None, author, "revoked"))

    async def rotate_key(self, key_id: str, *, author: str) -> ApiKey:
        """Make a key of the same role and name, and revoke the old one."""
        old = next((key for key in await self.keys() if key.key_id == key_id), None)
        if old is None:
            raise NotFoundError("There is no such API key.", kind="key", name=key_id)
        made = await self.create_key(old.role, name=old.name, author=author)
        await self.revoke_key(key_id, author=author)
        return made

    async def role_of(self, secret: str) -> Role:
        """The role of an API key. Raises as `key_of` does."""
        return (await self.key_of(secret)).role

    async def key_of(self, secret: str) -> ApiKey:
        """The API key behind a secret.

        Raises:
            AuthError: not a key of this tenant, or a revoked one.
        """
        match = _KEY.fullmatch(secret)
        ours = match is not None and tenant_of_key(secret) == self.tenant
        rows = (await self._registry.read_keys(match["id"]))[1] if match and ours else []
        hashed = hash_secret(secret, self._registry.store.pepper)
        if not rows or not hmac.compare_digest(rows[0].hash, hashed) or rows[0].revoked or rows[0].role == PROXY:
            raise AuthError("The API key is wrong or was revoked.", code="bad_key")
        return _key(rows[0])

    async def note_prices(self, version: str) -> None:
        """Make an event of it when the prices are others than those of the process that connected before."""
        await self._registry.note_prices(version)

    async def refund(
        self, grant_id: str, usd: object, *, author: str, reason: str = "", refund_id: str | None = None
    ) -> Refund:
        """Take back some of what an ended grant was charged: in the bill of today, and in the present windows.

        A budget that has spent less in its present window than is taken back has spent nothing then.

        Args:
            grant_id: it must have ended, and be remembered still (``AEGIS_IDEMPOTENCY_SECONDS``).
            usd: dollars, more than 0 and at most what is still charged.
            author: who corrects it.
            reason: why, for those who read the events; secrets in it are masked.
            refund_id: the same again, after a lost answer, changes nothing.

        Raises:
            InvalidRequestError: the amount. ConflictError: the grant is open. NotFoundError: no such grant.
        """
        wish = parse(RefundWish, usd=usd, reason=reason, refund_id=refund_id)
        key, nanos = grant_key(grant_id), to_nanos(wish.usd, "usd")
        order = RefundOrder(key, nanos, wish.refund_id or secrets.token_hex(16), mask_text(wish.reason), author)
        record, repeated = await self._registry.refund(order)
        return Refund(
            "gr_" + key, record.agent, to_usd(nanos), to_usd(record.charged), to_usd(record.refunded), repeated
        )

    async def note_forecasts(self, pace: Iterable[PaceRow]) -> None:
        """Make an event of each budget for a day that at this pace is used up before its end."""
        await self._registry.note_forecasts(pace)

    async def note_estimates(self, found: Iterable[EstimatesRow]) -> None:
        """Make an event of each agent of whose charges so much is estimated."""
        await self._registry.note_estimates(found)

    async def forget(self, agent_id: str, *, author: str) -> int:
        """Remove what an agent wrote, and nothing else; answers how many texts there were.

        Its events stay, with every amount and all that operators did. A question that is open still may be decided;
        newer rules cannot judge it any more.

        Raises:
            NotFoundError: the agent never shook hands.
        """
        return await self._registry.forget(checked(agent_id, "agent_id"), author)


def tenant_of_key(secret: str) -> str | None:
    """The tenant that a key names, before it is known to be right; None for anything that is not a key."""
    match = _KEY.fullmatch(secret)
    return unspelt(match["tenant"]) if match else None


def _key(row: Key) -> ApiKey:
    role: Role = "operator" if row.role == "operator" else "agent"
    return ApiKey(row.id, role, row.name, row.author, at_ms(row.made), at_ms(row.revoked) if row.revoked else None)
