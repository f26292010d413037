"""The middleware of `create_agent` passes the contract of adapters."""

from __future__ import annotations

from aegis_core.testing import AdapterContract

from .harness import MiddlewareHarness


class TestMiddleware(AdapterContract):
    harness = MiddlewareHarness()
