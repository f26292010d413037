"""The middleware of `create_agent` passes the contract of adapters."""

from __future__ import annotations

import pytest

from aegis_core.testing import AdapterContract

from .harness import MiddlewareHarness

pytestmark = pytest.mark.concurrent


class TestMiddleware(AdapterContract):
    harness = MiddlewareHarness()
