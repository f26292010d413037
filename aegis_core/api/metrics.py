"""What Prometheus reads of one tenant. Labels hold words of Aegis and of operators, and those of agents only where the
settings ask for their budgets."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, choose_encoder
from prometheus_client.registry import Collector

from aegis_core.api.budget_metrics import BudgetFigures
from aegis_core.governor.counts import TenantCounts
from aegis_core.governor.delivering import DeliveryState
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.rules.condition import MISMATCHES
from aegis_core.protocol.errors import AegisError

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


_ALERTED = ("events_lost", "overrun", "webhook_dead_lettered")
"""Kinds whose figure is there before the first of them, so that the first is an increase, too."""
_EVER = 2**53 / 1000 - 1
"""Seconds from which a bucket has no end."""


class _Durations(Collector):
    """How long verdicts took, in one event loop: without the locks of the library's own histogram, which cost as much
    as a tenth of the whole answer."""

    def __init__(self) -> None:
        self._below, self._sum = [0] * (len(_SECONDS) + 1), 0.0

    def took(self, seconds: float) -> None:
        """How long one took."""
        self._below[bisect_left(_SECONDS, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """In Prometheus's form."""
        title = "Time from a read request to its verdict, where nobody was waited for. Of this process."
        yield _histogram("aegis_request_permission_seconds", title, _SECONDS, self._below, self._sum)


class _Tenant(Collector):
    """What the scripts counted, whichever process decided."""

    def __init__(self) -> None:
        self.counts: TenantCounts | None = None

    def collect(self) -> Iterator[Metric]:
        """In Prometheus's form; nothing while the store is down, rather than figures of the past."""
        counts = self.counts
        if counts is None:
            return
        decisions = CounterMetricFamily(
            "aegis_decisions", "Decisions of all processes of the tenant.", labels=("status", "code")
        )
        for key, count in sorted(counts.decisions.items()):
            decisions.add_metric(key, count)
        yield decisions
        events = CounterMetricFamily("aegis_events", "Events but for decisions, by kind.", labels=("kind",))
        for kind, count in sorted((dict.fromkeys(_ALERTED, 0) | counts.events).items()):
            events.add_metric((kind,), count)
        yield events
        yield CounterMetricFamily("aegis_approval_answers", "Questions that were answered.", counts.answers)
        yield CounterMetricFamily(
            "aegis_approval_answer_seconds", "How long answered questions had waited.", counts.answer_seconds
        )
        bounds = [bound for bound in counts.waits if bound < _EVER]
        title = "How long leases were waited for, of those that were."
        yield _histogram("aegis_lock_wait_seconds", title, bounds, list(counts.waits.values()), counts.wait_seconds)
        for name, title, value in (
            ("charged_usd", "What was charged, corrections included.", counts.charged),
            ("estimated_usd", "How much of it is estimated.", counts.estimated),
            ("approvals_open", "Questions that wait for a person.", counts.approvals_open),
            ("approval_oldest_seconds", "How long the oldest has waited.", counts.oldest_approval_seconds),
            ("events_kept", "Events that are kept.", counts.events_kept),
            ("event_oldest_seconds", "How old the oldest of them is.", counts.oldest_event_seconds),
            ("event_last_number", "The number of the newest event.", counts.last_number),
            ("events_uncounted", "Events that are not summed up by the hour yet.", counts.uncounted),
            ("policy_version", "The version of the policy in force.", counts.policy_version),
            ("observing", "1 while rules only say what they would decide.", int(counts.observing)),
            ("halted", "1 while every agent is refused.", int(counts.halted)),
            ("agents_blocked", "Agents that are blocked.", counts.blocked_agents),
            ("keys_in_force", "API keys; from the first on callers must show one.", counts.keys),
        ):
            yield GaugeMetricFamily(f"aegis_{name}", title, value)
        yield from _webhooks(counts.webhooks)


def _webhooks(found: Mapping[str, DeliveryState]) -> Iterator[Metric]:
    """How each webhook for events is served; none where none is."""
    rows: tuple[tuple[str, str, Callable[[DeliveryState], float]], ...] = (
        ("behind_events", "Events that it was not told of yet, wanted or not.", lambda state: state.behind),
        ("failing", "1 while it takes nothing.", lambda state: bool(state.problem)),
        ("put_aside_events", "Events that it did not take.", lambda state: state.dead),
    )
    for name, title, value in rows:
        family = GaugeMetricFamily(f"aegis_webhook_{name}", title, labels=("webhook",))
        for webhook, state in found.items():
            family.add_metric((webhook,), value(state))
        yield family


def _histogram(
    name: str, title: str, bounds: Sequence[float], counts: Sequence[int], total: float
) -> HistogramMetricFamily:
    ends = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return HistogramMetricFamily(name, title, buckets=list(zip(ends, accumulate(counts), strict=True)), sum_value=total)


class Metrics:
    """The figures of a tenant: what its scripts counted, its money, and how fast this process answers."""

    def __init__(self, governor: ResourceGovernor, budgets: int) -> None:
        """`budgets`: of so many agents, and of so many labels, budgets are figures, too."""
        self._governor, self.most_budgets = governor, budgets
        self._registry = registry = CollectorRegistry()
        self._durations, self._tenant = _Durations(), _Tenant()
        registry.register(self._durations)
        registry.register(self._tenant)
        self._budgets = BudgetFigures(governor, budgets)
        registry.register(self._budgets)
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

    def took(self, began: float | None) -> None:
        """One verdict. `began`: when its request was read, by `time.perf_counter`; None when it waited for a person."""
        if began is not None:
            self._durations.took(time.perf_counter() - began)

    async def page(self, accept: str = "", *, seconds: float | None = None) -> tuple[bytes, str]:
        """Everything in Prometheus's words, or OpenMetrics where that is accepted; and its media type.

        A store that is down, or does not answer within so many `seconds`, is a figure like the others.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._look()
            self._up.set(1)
        except (AegisError, TimeoutError):
            self._tenant.counts = None
            self._budgets.clear()
            self._up.set(0)
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    async def _look(self) -> None:
        shared = await self._governor.shared_budgets()
        for state in shared:
            if state.scope == "tenant":
                parts = {"limit": state.limit_usd, "spent": state.spent_usd, "reserved": state.reserved_usd}
                for part, amount in parts.items():
                    self._budget.labels(state.window, part).set(float(amount))
        self._tenant.counts = await self._governor.tenant_store.counts()
        self._open.set(await self._governor.tenant_store.count_open())
        await self._budgets.look(shared)
