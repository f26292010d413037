"""`GovernedLLM` and `govern_tools` pass the contract of adapters."""

from __future__ import annotations

from aegis_core.testing import AdapterContract

from .harness import CrewHarness


class TestCrew(AdapterContract):
    harness = CrewHarness()
