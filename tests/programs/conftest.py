"""A governor for programs as users write them. CrewAI is told to phone nobody before it is imported."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import pytest
from scratch import scratch

from aegis_core import Settings, connect_sync
from aegis_core.client.sync import SyncGovernor

os.environ["CREWAI_DISABLE_TELEMETRY"] = os.environ["CREWAI_DISABLE_TRACKING"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
os.environ["OTEL_SDK_DISABLED"] = "true"
os.environ.setdefault("CREWAI_STORAGE_DIR", scratch("crewai"))

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import autogen  # noqa: F401
    import crewai  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What frameworks deprecate of each other is theirs."""
    for item in items:
        if "programs" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:Resolved model mismatch"))  # the names are undated
            item.add_marker(pytest.mark.concurrent)


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as connected:
        yield connected
