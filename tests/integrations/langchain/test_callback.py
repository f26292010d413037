"""The callback passes the contract of adapters."""

from __future__ import annotations

import pytest

from aegis_core.testing import AdapterContract

from .harness import CallbackHarness

pytestmark = pytest.mark.concurrent


class TestCallback(AdapterContract):
    harness = CallbackHarness()
