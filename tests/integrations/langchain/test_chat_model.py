"""The governed chat model passes the contract of adapters."""

from __future__ import annotations

import pytest

from aegis_core.testing import AdapterContract

from .harness import ChatModelHarness

pytestmark = pytest.mark.concurrent


class TestChatModel(AdapterContract):
    harness = ChatModelHarness()
