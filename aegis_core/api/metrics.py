"""What Prometheus reads of one tenant. Labels hold words of Aegis only, never those of an agent."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.rules.condition import MISMATCHES
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.messages import Verdict

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class _Verdicts(Collector):
    """What is counted with each verdict, in one event loop: without the locks of the library's own counters, which cost
    as much as a tenth of the whole answer."""

    def __init__(self) -> None:
        self._by_code: Counter[tuple[str, str]] = Counter()
        self._below, self._sum = [0] * (len(_SECONDS) + 1), 0.0

    def count(self, status: str, code: str) -> None:
        """One verdict."""
        self._by_code[status, code] += 1

    def took(self, seconds: float) -> None:
        """How long one took."""
        self._below[bisect_left(_SECONDS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        """Both in Prometheus's form."""
        decisions = CounterMetricFamily("aegis_decisions", "Verdicts of this process.", labels=("status", "code"))
        for key, count in self._by_code.items():
            decisions.add_metric(key, count)
        yield decisions
        title = "Time from a read request to its verdict, where nobody was waited for."
        bounds = [*(str(bound) for bound in _SECONDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._below), strict=True))
        yield HistogramMetricFamily("aegis_request_permission_seconds", title, buckets=buckets, sum_value=self._sum)


class Metrics:
    """Counts what this process decided for a tenant, and looks at its money when asked."""

    def __init__(self, governor: ResourceGovernor) -> None:
        self._governor = governor
        self._registry = registry = CollectorRegistry()
        self._verdicts = _Verdicts()
        registry.register(self._verdicts)
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

    def count(self, verdict: Verdict, began: float | None) -> None:
        """One verdict. `began`: when its request was read, by `time.perf_counter`; None when it waited for a person."""
        self._verdicts.count(verdict.status, verdict.code)
        if began is not None:
            self._verdicts.took(time.perf_counter() - began)

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
