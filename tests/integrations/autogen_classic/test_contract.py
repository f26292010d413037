"""`register_governor` passes the contract of adapters."""

from __future__ import annotations

from aegis_core.testing import AdapterContract

from .harness import ClassicHarness


class TestClassic(AdapterContract):
    harness = ClassicHarness()
