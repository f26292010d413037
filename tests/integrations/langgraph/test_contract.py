"""The nodes for LangGraph pass the contract of adapters."""

from __future__ import annotations

import pytest

from aegis_core.testing import AdapterContract

from .harness import GraphHarness

pytestmark = pytest.mark.concurrent


class TestGraph(AdapterContract):
    harness = GraphHarness()
