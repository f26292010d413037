"""A fail-over that a program writes itself, in agentchat."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from aegis_autogen.agentchat import GovernedChatCompletionClient

from aegis_core import Settings, connect_sync
from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing import ModelScript, Turn

from .harness import ScriptedClient


@pytest.fixture
def aegis(settings: Settings) -> Iterator[SyncGovernedAgent]:
    with connect_sync(settings=settings) as governor:
        yield governor.handshake("chat")


class FailOver(ScriptedClient):
    """Takes whatever happens for an outage."""

    def __init__(self, *tried: Any) -> None:
        super().__init__(ModelScript(Turn("It is sunny.")))
        self.tried = {str(place): each for place, each in enumerate(tried)}


def test_one_that_holds_a_governed_client_is_warned_of(aegis: SyncGovernedAgent) -> None:
    plain = ScriptedClient(ModelScript(Turn("It is sunny.")))
    governed = GovernedChatCompletionClient(plain, aegis, model="gpt-4o-mini")
    with pytest.warns(UserWarning, match="FailOver holds a governed model, and may call another one"):
        GovernedChatCompletionClient(FailOver(governed, plain), aegis, model="gpt-4o-mini")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        GovernedChatCompletionClient(FailOver(plain), aegis, model="gpt-4o-mini")
