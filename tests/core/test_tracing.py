"""The current span of OpenTelemetry is named in requests, where a program has loaded it; nothing of Aegis loads it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from aegis_core.client import tracing
from aegis_core.client.sync import SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.settings import Settings


@pytest.fixture
def plain(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as governor:
        yield governor


@pytest.mark.leaves("grants")
def test_a_request_in_a_span_says_which_one(plain: SyncGovernor) -> None:
    agent = plain.handshake("a")
    with TracerProvider().get_tracer("tests").start_as_current_span("work") as span:
        agent.request("Work", estimated_cost_usd=1)
        own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        agent.request("Work", estimated_cost_usd=1, traceparent=own)
    agent.request("Work", estimated_cost_usd=1)
    place = span.get_span_context()
    expected = f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"
    found = [event.facts.get("traceparent") for event in plain.events(limit=100) if event.kind == "granted"]
    assert found == [expected, own, None]


def test_a_tracer_that_fails_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no context")

    monkeypatch.setattr(trace, "get_current_span", broken)
    assert tracing.current_traceparent() is None


def test_aegis_loads_no_tracing_by_itself() -> None:
    """In a process of its own; other libraries may load it."""
    program = """
import sys
from aegis_core.client.tracing import current_traceparent
assert current_traceparent() is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
