"""Keys of the proxy: each is one agent's, and says what calls with it may be. Their hashes are kept, as of API keys."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from aegis_core.governor.budgets import at_ms, checked
from aegis_core.governor.credentials import hash_secret, of_tenant
from aegis_core.protocol.errors import AuthError, InvalidRequestError, NotFoundError
from aegis_core.protocol.fields import Glob, Identifier
from aegis_core.protocol.ids import unspelt
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.parsing import Message, parse
from aegis_core.protocol.profiles import Pattern, Profile, ProfileSet
from aegis_core.store.operator_verbs import PutKey
from aegis_core.store.operators import OperatorStore
from aegis_core.store.people import Key

PREFIX = "aegis_px_"
"""How every key of the proxy begins, by which it is known among other credentials."""
PROXY = "proxy"
"""The role of such a key where keys are stored."""

_KEY = re.compile(
    r"aegis_px_(?P<id>k[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})_(?P<tenant>[\w.:@/%-]{1,1536})", re.ASCII
)
_WRONG = "The key of the proxy is wrong or was revoked; `aegis proxy keys create` makes one."


class KeyTerms(Message):
    """What calls with a key of the proxy may be.

    Attributes:
        agent_id: the agent that they are of; its profile and budgets hold.
        models: names or patterns of models that may be called; none: any.
        max_output_tokens: the cap on one answer, also where a client sends none or a higher one.
        min_output_tokens: down to how much that cap may be cut, to what is affordable or needs no person.
        refusal_status: the HTTP status of refusals that waiting does not cure.
        hosted_calls: calls of each hosted tool within one call, where the request bounds none; None: refused.
        route: ``rewrite`` puts the recommended model of the same provider in the place of the one that is named, where
            it costs no more.
        cut_streams: break a stream off once it has cost more than was reserved.
    """

    agent_id: Identifier
    models: Annotated[tuple[Pattern, ...], Field(max_length=64)] = ()
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 32_000
    min_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] = 8_192
    refusal_status: Literal[400, 402, 429] = 402
    hosted_calls: Annotated[int, Field(ge=1, le=1_000)] | None = None
    route: Literal["keep", "rewrite"] = "keep"
    cut_streams: bool = False

    def allows(self, model: str) -> bool:
        """Whether a model may be called. Case does not count, as it does not for providers."""
        return not self.models or any(Glob.parse(each.lower()).matches(model.lower()) for each in self.models)


@dataclass(frozen=True, slots=True)
class ProxyKey:
    """A key of the proxy as operators see it. `secret` is the key itself, and only there when it was just made."""

    key_id: str
    terms: KeyTerms
    author: str
    made_at: datetime
    revoked_at: datetime | None = None
    secret: str | None = None


class ProxyKeys:
    """The keys of the proxy of one tenant."""

    def __init__(self, registry: OperatorStore) -> None:
        self._registry = registry
        self.tenant = registry.tenant

    async def create(self, terms: KeyTerms, *, author: str) -> ProxyKey:
        """Make a key. It is shown once; what is stored is its hash."""
        key_id = "k" + secrets.token_hex(8)
        secret = of_tenant(f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}", self.tenant)
        order = PutKey(
            id=key_id, role=PROXY, hash=hash_secret(secret, self._registry.store.pepper),
            name=checked(terms.agent_id, "agent_id"), author=author, act="created",
            terms=terms.model_dump_json(exclude_defaults=True),
        )  # fmt: skip
        await self._registry.put_key(order)
        _, rows = await self._registry.read_keys(key_id)
        return ProxyKey(key_id, terms, author, at_ms(rows[0].made), secret=secret)

    async def list(self) -> list[ProxyKey]:
        """All keys, revoked ones included, oldest first."""
        rows = sorted((await self._registry.read_keys())[1], key=lambda row: row.made)
        return [_key(row) for row in rows if row.role == PROXY]

    async def revoke(self, key_id: str, *, author: str) -> None:
        """End a key. Again is harmless.

        Raises:
            NotFoundError: there is no such key of the proxy.
        """
        _, rows = await self._registry.read_keys(checked(key_id, "key_id"))
        if not rows or rows[0].role != PROXY:
            raise NotFoundError("There is no such key of the proxy; `aegis proxy keys list` shows them.", kind="key")
        await self._registry.put_key(PutKey(key_id, None, None, None, author, "revoked"))

    async def key_of(self, secret: str) -> ProxyKey:
        """The key behind a secret.

        Raises:
            AuthError: not a key of this tenant, or a revoked one, or one with terms of a newer version.
            StoreError: nobody could be asked.
        """
        match = _KEY.fullmatch(secret)
        if match is None:
            raise AuthError(_WRONG, code="bad_key")
        if (tenant := unspelt(match["tenant"])) != self.tenant:
            raise AuthError(
                f"This key is of the tenant {tenant!r}, and this proxy serves {self.tenant!r} only.", code="bad_key"
            )
        _, rows = await self._registry.read_keys(match["id"])
        hashed = hash_secret(secret, self._registry.store.pepper)
        if not rows or not hmac.compare_digest(rows[0].hash, hashed) or rows[0].revoked or rows[0].role != PROXY:
            raise AuthError(_WRONG, code="bad_key")
        return _key(rows[0])


def narrowed(
    profiles: ProfileSet, agent_id: str, labels: Mapping[str, str], budgets: Mapping[str, UsdLike]
) -> ProfileSet:
    """The profiles with labels and limits of one agent added to what holds for it, whichever profile says so.

    Raises:
        InvalidRequestError: a label, a window or an amount that cannot be accepted.
    """
    before = profiles.of(agent_id)
    said = before.model_dump(exclude_defaults=True) | {
        "match": agent_id,
        "labels": {**before.labels, **labels},
        "budgets": {**before.budgets, **budgets},
    }
    return profiles.with_profile(parse(Profile, **said))


def _key(row: Key) -> ProxyKey:
    revoked = at_ms(row.revoked) if row.revoked else None
    return ProxyKey(row.id, _terms(row.terms), row.author, at_ms(row.made), revoked)


def _terms(text: str | Literal[False]) -> KeyTerms:
    try:
        return KeyTerms.model_validate_json(text or "{}")
    except (ValidationError, InvalidRequestError):
        raise AuthError(
            "This key of the proxy says something that this version of Aegis does not know; upgrade it.", code="bad_key"
        ) from None
