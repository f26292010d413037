"""What operators do: profiles, brakes, keys, policy versions. Each act is one event with its author."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.governor.budget_resets import BudgetReset, reset
from aegis_core.governor.budgets import at_ms, checked
from aegis_core.governor.credentials import hash_secret, of_tenant
from aegis_core.governor.people import People
from aegis_core.governor.proxy_keys import PROXY, ProxyKeys
from aegis_core.governor.verdicts import grant_key
from aegis_core.policy.engine import Policy
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import Reason
from aegis_core.protocol.errors import AuthError, InvalidRequestError, NotFoundError
from aegis_core.protocol.fields import Identifier, Usd
from aegis_core.protocol.ids import unspelt
from aegis_core.protocol.masking import mask_text
from aegis_core.protocol.money import to_nanos, to_usd
from aegis_core.protocol.parsing import Message, parse
from aegis_core.protocol.people import fold, person_name
from aegis_core.protocol.profiles import Profile, ProfileSet, load_profiles
from aegis_core.store.arguments import EstimatesRow, PaceRow
from aegis_core.store.layout import TENANTS_KEY
from aegis_core.store.operator_verbs import PutKey
from aegis_core.store.operator_verbs import Refund as RefundOrder
from aegis_core.store.operators import OperatorStore
from aegis_core.store.people import Key, Person
from aegis_core.store.states import STATE_OF

Role = Literal["agent", "viewer", "approver", "operator", "owner"]
"""What a key may do: an agent's shakes hands, a person's does what the person may."""
_KEY = re.compile(
    r"aegis_key_(?P<id>k[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})_(?P<tenant>[\w.:@/%-]{1,1536})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as operators see it: an agent's, or a person's with the role that the person has now. `secret` is the
    key itself, and only there when it was just made."""

    key_id: str
    role: Role
    name: str
    author: str
    made_at: datetime
    revoked_at: datetime | None = None
    secret: str | None = None
    person: str | None = None


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
        self.proxy_keys, self.people = ProxyKeys(registry), People(registry)

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

    async def policy_history(self, most: int | None = None) -> list[PolicyVersion]:
        """The stored versions of the policy, newest first."""
        row = await self._registry.policy_version(None)
        found: list[PolicyVersion] = []
        for version in range(row.version, row.version - most if most else 0, -1):
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
        """Make an API key. It is shown once; what is stored is its hash.

        Args:
            role: ``agent``, or that of the person of this name, who is added where there is none.
            name: whom or what it is for.
            author: who makes it.

        Raises:
            ConflictError: the person has another role; nothing was made.
        """
        if role == "agent":
            return await self._make(PutKey("", role, None, checked(name, "name"), author, "created"))
        whose = _person_named(name)
        return await self._make(PutKey("", role, None, whose, author, "created", None, whose, fold(whose)))

    async def create_person_key(self, name: str, *, author: str) -> ApiKey:
        """Make one more key of a person.

        Raises:
            NotFoundError: there is no such person.
        """
        return await self._make(PutKey("", None, None, name, author, "created", None, name, fold(name)))

    async def _make(self, order: PutKey) -> ApiKey:
        key_id = "k" + secrets.token_hex(8)
        secret = of_tenant(f"aegis_key_{key_id}_{secrets.token_urlsafe(32)}", self.tenant)
        hashed = hash_secret(secret, self._registry.store.pepper)
        await self._registry.put_key(order._replace(id=key_id, hash=hashed))
        _, pairs = await self._registry.owned_keys(key_id)
        return replace(_key(*pairs[0]), secret=secret)

    async def keys(self) -> list[ApiKey]:
        """All keys, revoked ones included, oldest first; but for those of the proxy, which `proxy_keys` lists."""
        pairs = sorted((await self._registry.owned_keys())[1], key=lambda pair: pair[0].made)
        return [_key(*pair) for pair in pairs if pair[0].role != PROXY]

    async def key(self, key_id: str) -> ApiKey:
        """One of them.

        Raises:
            NotFoundError: there is no such key.
        """
        _, pairs = await self._registry.owned_keys(key_id)
        if not pairs or pairs[0][0].role == PROXY:
            raise NotFoundError("There is no such API key.", kind="key", name=key_id)
        return _key(*pairs[0])

    async def keys_in_force(self) -> int:
        """How many keys are in force; the HTTP server asks for one when there are any."""
        return (await self._registry.read_keys("-"))[0]

    async def revoke_key(self, key_id: str, *, author: str) -> None:
        """End a key at once. Again is harmless."""
        await self._registry.put_key(PutKey(key_id, None, None, None, author, "revoked"))

    async def rotate_key(self, key_id: str, *, author: str) -> ApiKey:
        """Make a key of the same person, or for agents of the same name, and revoke the old one."""
        old = await self.key(key_id)
        if old.person is not None:
            made = await self.create_person_key(old.person, author=author)
        else:
            made = await self.create_key("agent", name=old.name, author=author)
        await self.revoke_key(key_id, author=author)
        return made

    async def role_of(self, secret: str) -> Role:
        """The role of an API key. Raises as `key_of` does."""
        return (await self.key_of(secret)).role

    async def key_of(self, secret: str) -> ApiKey:
        """The API key behind a secret.

        Raises:
            AuthError: not a key of this tenant, or a revoked one, or one of a person who was removed.
        """
        match = _KEY.fullmatch(secret)
        ours = match is not None and tenant_of_key(secret) == self.tenant
        pairs = (await self._registry.owned_keys(match["id"]))[1] if match and ours else []
        hashed = hash_secret(secret, self._registry.store.pepper)
        key, whose = pairs[0] if pairs else (None, None)
        if key is None or not hmac.compare_digest(key.hash, hashed) or key.revoked or key.role == PROXY:
            raise AuthError("The API key is wrong or was revoked.", code="bad_key")
        if key.role != "agent" and (whose is None or whose.removed):
            raise AuthError("The API key is of nobody who belongs to this tenant.", code="bad_key")
        return _key(key, whose)

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

    async def reset_budget(self, scope: str, name: str, window: str, *, author: str) -> BudgetReset:
        """Begin the present window of one budget anew, with nothing spent but what open grants hold.

        Raises:
            InvalidRequestError: a scope, window or name that is not understood. NotFoundError: no such budget.
        """
        return await reset(self._registry, scope, name, window, author)

    async def lost_records(self, author: str, *, accept: bool, whole: bool = False) -> int:
        """How many agents and shared budgets have lost their records. Where the loss is accepted they begin anew, which
        is an event; `whole`: the tenant itself was gone."""
        return await self._registry.accept_loss(author, accepted=accept, whole=whole)

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


def _key(row: Key, whose: Person | None) -> ApiKey:
    role: Role = "agent" if row.role == "agent" else whose.role if whose else "viewer"  # pyright: ignore[reportAssignmentType]
    name, revoked = row.person or row.name, at_ms(row.revoked) if row.revoked else None
    return ApiKey(row.id, role, name, row.author, at_ms(row.made), revoked, person=row.person or None)


def _person_named(name: str) -> str:
    try:
        return person_name(name)
    except ValueError as error:
        raise InvalidRequestError(f"name: {error}", field="name", problem=str(error)) from None
