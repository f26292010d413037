"""Programs as people write them, with the SDKs of OpenAI, Anthropic and Google; the providers are on loopback."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from loopback import Providers, providers
from scratch import scratch

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.settings import Settings
from aegis_core.testing.contract.base import reserved, spent

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ["CREWAI_DISABLE_TRACKING"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
os.environ.setdefault("CREWAI_STORAGE_DIR", scratch("crewai"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Frameworks deprecate their own calls, and expect dated names of models in answers."""
    for item in items:
        if "sdk_programs" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Providers]:
    """The providers, where SDKs find them by the environment."""
    with providers() as running:
        for provider in ("OPENAI", "ANTHROPIC", "GOOGLE"):
            monkeypatch.setenv(f"{provider}_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai)
        monkeypatch.setenv("OPENAI_API_BASE", running.openai)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.root)
        monkeypatch.setenv("ANTHROPIC_API_URL", running.root)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.root)
        yield running


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as governor:
        yield governor


@pytest.fixture
def aegis(governor: SyncGovernor) -> SyncGovernedAgent:
    return governor.handshake("program", max_priority=9)


@pytest.fixture
def settled(at: Providers, aegis: SyncGovernedAgent) -> Callable[..., None]:
    """Look whether what was billed is what was charged, with the fees of tools, and nothing is held any more."""

    def look(fees: str = "0") -> None:
        assert at.refused == []
        assert at.bills
        assert spent(aegis) == at.usd + Decimal(fees)
        assert reserved(aegis) == 0

    return look
