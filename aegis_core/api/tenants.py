"""The tenants of one server: its own, and those whose keys knock. Whether keys are asked for is known here, too."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis_core.api.event_stream import EventStreams
from aegis_core.api.metrics import Metrics
from aegis_core.connect import operator_of, tenant_store, visit_tenant
from aegis_core.governor.credentials import tenant_of_token
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.operators import ApiKey, Operator, tenant_of_key
from aegis_core.protocol.errors import AegisError, AuthError, NotFoundError, StoreError

if TYPE_CHECKING:
    from aegis_core.store.store import Store

_FRESH = 1.0
"""Seconds for which it is taken as known whether there are keys."""
_GLANCE = 0.3
"""Seconds that it is looked for whether there still are, where there were."""
_LINGER = 65.0
"""Seconds that a governor which made room goes on for those who still wait in it: longer than any wait."""


@dataclass(frozen=True, slots=True)
class TenantContext:
    """One tenant as the routes work with it."""

    governor: ResourceGovernor
    metrics: Metrics
    streams: EventStreams

    @classmethod
    def of(cls, governor: ResourceGovernor, budgets: int) -> TenantContext:
        """A context with nothing counted yet. `budgets`: as `Metrics` has it."""
        return cls(governor, Metrics(governor, budgets), EventStreams(governor.reader))

    @property
    def tenant(self) -> str:
        """Its name."""
        return self.governor.tenant


class KeyWatch:
    """Knows whether the server's own tenant has keys in force, without a round trip for each call."""

    def __init__(self, operator: Operator, *, required: bool) -> None:
        self._operator, self._required = operator, required
        self._on, self._until = False, 0.0
        self._asking = asyncio.Lock()

    @property
    def last_known(self) -> bool:
        """What the last look found, however long ago."""
        return self._required or self._on

    async def on(self, *, fresh: bool = False) -> bool:
        """True when callers must show a credential. `fresh`: look now rather than trust the last second.

        Raises:
            StoreError: Redis cannot be asked and there were no keys: none is taken for keyless on a guess. (Where there
                were keys, there still are: what callers show must then hold before Redis anyway.)
        """
        if self._required or (not fresh and time.monotonic() < self._until):
            return self.last_known
        try:
            async with asyncio.timeout(_GLANCE if self._on else None), self._asking:
                if fresh or time.monotonic() >= self._until:  # of many who found it old, one asks
                    self._on = await self._operator.keys_in_force() > 0
                    self._until = time.monotonic() + _FRESH
        except (StoreError, TimeoutError):
            if not self._on:
                raise
        return self._on

    def expire(self) -> None:
        """Look again at the next call, for a key was made or revoked."""
        self._until = 0.0


class TenantContexts:
    """The server's own tenant, and others by what their callers show. None is opened before a credential held.

    Args:
        home: the server's own.
        store: that of all.
        most: others that stay open; the one that was asked longest ago makes room.
    """

    def __init__(self, home: TenantContext, store: Store, *, most: int) -> None:
        self.home, self._store, self._most = home, store, most
        self._opening: dict[str, asyncio.Task[TenantContext]] = {}
        self._others: OrderedDict[str, TenantContext] = OrderedDict()
        self._leaving: set[asyncio.Task[None]] = set()

    async def of_session(self, token: str) -> TenantContext:
        """The context that a session token names. In an open context the token itself is judged by what follows.

        Raises:
            AuthError: not a session token, or none that opens another tenant.
        """
        tenant = tenant_of_token(token)
        if tenant == self.home.tenant:
            return self.home
        if tenant is None:
            raise AuthError("This is not a session token; shake hands to get one.", code="bad_token")
        known = self._known(tenant)
        if known is not None:
            return known
        await tenant_store(self._store, tenant).agent_of(token)
        return await self._open(tenant)

    async def of_key(self, secret: str) -> tuple[TenantContext, ApiKey]:
        """The context that an API key opens, and the key.

        Raises:
            AuthError: not a key, or a revoked one.
        """
        tenant = tenant_of_key(secret)
        if tenant is None:
            raise AuthError("The API key is wrong or was revoked.", code="bad_key")
        key = await operator_of(self._store, tenant).key_of(secret)
        if tenant == self.home.tenant:
            return self.home, key
        return self._known(tenant) or await self._open(tenant), key

    def _known(self, tenant: str) -> TenantContext | None:
        context = self._others.get(tenant)
        if context is not None:
            self._others.move_to_end(tenant)
        return context

    async def _open(self, tenant: str) -> TenantContext:
        """Open it once, however many knock meanwhile."""
        opening = self._opening.get(tenant)
        if opening is None:
            opening = self._opening[tenant] = asyncio.create_task(self._visit(tenant))
            opening.add_done_callback(lambda done: self._opened(tenant, done))
        try:
            return await asyncio.shield(opening)
        except NotFoundError:
            raise AuthError("The credential names a tenant that is gone.", code="bad_token") from None

    def _opened(self, tenant: str, done: asyncio.Task[TenantContext]) -> None:
        del self._opening[tenant]
        if not done.cancelled():
            done.exception()  # who waited was told; where nobody does any longer, the loop must not complain

    async def _visit(self, tenant: str) -> TenantContext:
        governor = await visit_tenant(self.home.governor, self._store, tenant)
        context = TenantContext.of(governor, self.home.metrics.most_budgets)
        self._others[tenant] = context
        while len(self._others) > self._most:
            _, left = self._others.popitem(last=False)
            leaving = asyncio.create_task(_close_later(left.governor.aclose))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        return context

    async def aclose(self) -> None:
        """Close what was opened here."""
        for task in [*self._leaving, *self._opening.values()]:
            task.cancel()
            with suppress(asyncio.CancelledError, AegisError):
                await task
        for context in self._others.values():
            await context.governor.aclose()


async def _close_later(close: Callable[[], Awaitable[None]]) -> None:
    try:
        await asyncio.sleep(_LINGER)
    finally:
        await close()
