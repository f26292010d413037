"""What Prometheus reads of one tenant. Labels hold words of Aegis only, never those of an agent."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.rules.condition import MISMATCHES
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.messages import Verdict

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counts what this process decided for a tenant, and looks at its money when asked."""

    def __init__(self, governor: ResourceGovernor) -> None:
        self._governor = governor
        self._registry = registry = CollectorRegistry()
        self._decisions = Counter("aegis_decisions", "Verdicts of this process.", ("status", "code"), registry=registry)
        self._seconds = Histogram(
            "aegis_request_permission_seconds", "Time from a read request to its verdict, where nobody was waited for.",
            registry=registry, buckets=_SECONDS,
        )  # fmt: skip
        self._budget = Gauge(
            "aegis_tenant_budget_usd", "The tenant's own budgets.", ("window", "part"), registry=registry
        )
        self._open = Gauge("aegis_open_grants", "Grants and questions that are open now.", registry=registry)
        self._up = Gauge("aegis_store_up", "1 while Redis answers.", registry=registry)
        mismatches = Gauge(
            "aegis_condition_mismatches",
            "Conditions that met metadata of another type.",
            registry=registry,
        )
        mismatches.set_function(lambda: MISMATCHES.count)
        self._counted: dict[tuple[str, str], Any] = {}

    def count(self, verdict: Verdict, began: float | None) -> None:
        """One verdict. `began`: when its request was read, by `time.perf_counter`; None when it waited for a person."""
        key = (verdict.status, verdict.code)
        counter = self._counted.get(key)
        if counter is None:
            counter = self._counted[key] = self._decisions.labels(*key)
        counter.inc()
        if began is not None:
            self._seconds.observe(time.perf_counter() - began)

    async def page(self) -> bytes:
        """Everything in Prometheus's words. A store that is down is a figure like the others."""
        try:
            await self._look()
            self._up.set(1)
        except AegisError:
            self._up.set(0)
        return generate_latest(self._registry)

    async def _look(self) -> None:
        for state in await self._governor.shared_budgets():
            if state.scope == "tenant":
                parts = {"limit": state.limit_usd, "spent": state.spent_usd, "reserved": state.reserved_usd}
                for part, amount in parts.items():
                    self._budget.labels(state.window, part).set(float(amount))
        self._open.set(await self._governor.tenant_store.count_open())
