"""The callback passes the contract of adapters."""

from __future__ import annotations

from aegis_core.testing import AdapterContract

from .harness import CallbackHarness


class TestCallback(AdapterContract):
    harness = CallbackHarness()
