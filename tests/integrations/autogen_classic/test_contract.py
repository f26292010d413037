"""`register_governor` passes the contract of adapters."""

from __future__ import annotations

import pytest

from aegis_core.testing import AdapterContract

from .harness import ClassicHarness

pytestmark = pytest.mark.concurrent


class TestClassic(AdapterContract):
    harness = ClassicHarness()
