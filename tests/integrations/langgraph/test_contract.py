"""The nodes for LangGraph pass the contract of adapters."""

from __future__ import annotations

from aegis_core.testing import AdapterContract

from .harness import GraphHarness


class TestGraph(AdapterContract):
    harness = GraphHarness()
