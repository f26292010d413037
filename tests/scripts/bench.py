"""What the state machine stands on: a server kept across examples, and two tenants with their models."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from plain import plain

from aegis_core.arbiter.arbiter import Arbiter
from aegis_core.arbiter.book import price_book
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.connect import open_governor
from aegis_core.governor import governor
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.errors import AegisError, StoreError
from aegis_core.store.store import Store, open_store
from aegis_core.testing import private_settings

from .model import Ask, Record, Refused, Timings, World

USD = 1_000_000_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000

TIMINGS = Timings(
    grant=600 * SECOND, grant_max=HOUR, approval=900 * SECOND, keep=HOUR, idle=40 * DAY, most_open=6,
    most_asked=3, agent_day=10 * USD, tenant_day=25 * USD,
)  # fmt: skip
TRANSIENT = 60 * SECOND


class Bench:
    """One server, connection and event loop, kept across examples."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.settings = private_settings(url=url)
        self.store: Store = self.runner.run(open_store(self.settings, virtual_time=True))
        self.plain = plain(url, protocol=2)
        catalog = load_catalog(None)
        self.arbiter = Arbiter(catalog, price_book(catalog))

        self.sessions = 0
        self._new_session, governor.new_session = governor.new_session, self._numbered_session

    def _numbered_session(self) -> tuple[str, str]:
        """Sessions end in the order of their names when they end together, so chance must not choose the names."""
        self.sessions += 1
        sid = f"s{self.sessions:024x}"
        return sid, f"aegis_st_{sid}_{self.sessions:043}"

    def close(self) -> None:
        governor.new_session = self._new_session
        self.plain.close()
        self.runner.run(self.store.aclose())
        self.runner.close()

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(doing)


class Side:
    """A tenant: its model, its governor, and what the harness remembers of both."""

    def __init__(self, bench: Bench, zone: str, now: int) -> None:
        self.bench, self.zone = bench, zone
        self.name = f"m-{uuid4().hex[:12]}"
        self.world = World(zone, TIMINGS, now)
        self.tokens: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.asked: dict[tuple[str, str], dict[str, Any]] = {}
        self.asks: dict[tuple[str, str], Ask] = {}
        self.policies: dict[tuple[str, str], int] = {}
        self.admitted: Record | None = None
        self.last_event = "-"
        self.image: dict[bytes, Any] = {}
        settings = private_settings(
            url=bench.settings.url, tenant=self.name, timezone=zone, grant_seconds=600, max_grant_seconds=3600,
            approval_seconds=900, idempotency_seconds=3600, session_idle_seconds=40 * 86_400, max_open_grants=6,
            max_open_approvals=3, agent_day_usd=10, tenant_day_usd=25,
        )  # fmt: skip
        self.governor: ResourceGovernor = bench.run(open_governor(bench.store, settings))
        self.governor._arbiter = bench.arbiter
        self.world.events.append(("tenant_opened",))

    def attempt(self, doing: Coroutine[Any, Any, Any], expected: Any) -> Any:
        """Run a call beside its model. A refusal by either must be a refusal by both, with the same code."""
        try:
            wanted: Any = expected()
        except Refused as refusal:
            wanted = refusal
        try:
            got = self.bench.run(doing)
        except StoreError:
            raise  # a script that fails is not an answer
        except AegisError as error:
            got = error
        if isinstance(wanted, Refused) or isinstance(got, AegisError):
            assert isinstance(got, AegisError), f"went through, not {wanted.args[0]}: {got}"
            assert isinstance(wanted, Refused), f"{got.code}: {got}"
            assert got.code == wanted.args[0]
            return None, None
        return got, wanted

    def bearer(self, kind: str, agent: str, number: int) -> str | None:
        """A session whose token the call carries."""
        if not kind:
            return None
        whose = [sid for sid in self.tokens if (self.owners[sid] == agent) == (kind == "own")]
        return whose[number % len(whose)] if whose else None
