"""`GovernedLLM` and `govern_tools` pass the contract of adapters."""

from __future__ import annotations

import pytest

from aegis_core.testing import AdapterContract

from .harness import CrewHarness

pytestmark = pytest.mark.concurrent


class TestCrew(AdapterContract):
    harness = CrewHarness()
