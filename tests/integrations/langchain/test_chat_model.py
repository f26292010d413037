"""The governed chat model passes the contract of adapters."""

from __future__ import annotations

from aegis_core.testing import AdapterContract

from .harness import ChatModelHarness


class TestChatModel(AdapterContract):
    harness = ChatModelHarness()
