"""The governed client and tools pass the contract of adapters, in an agent and in a team."""

from __future__ import annotations

from aegis_core.testing import AdapterContract

from .harness import AgentHarness, TeamHarness


class TestAgent(AdapterContract):
    harness = AgentHarness()


class TestTeam(AdapterContract):
    harness = TeamHarness()
