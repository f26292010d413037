"""CrewAI phones home and writes into the user's folder, unless it is told otherwise before it is imported."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from scratch import scratch

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.settings import Settings

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ["CREWAI_DISABLE_TRACKING"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
os.environ["OTEL_SDK_DISABLED"] = "true"
os.environ.setdefault("CREWAI_STORAGE_DIR", scratch("crewai"))

with warnings.catch_warnings():  # its own imports warn
    warnings.simplefilter("ignore")
    import crewai  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """CrewAI reads its own deprecated fields, and pydantic says so each time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    """A governor for plain code, with a tenant of its own."""
    with connect_sync(settings=settings) as connected:
        yield connected


@pytest.fixture
def aegis(governor: SyncGovernor) -> SyncGovernedAgent:
    """An agent with $10 a day."""
    return governor.handshake("crew")
