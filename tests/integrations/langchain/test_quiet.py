"""LangChain logs what a callback raises. A refusal of ours is an answer, so it is left out; everything else stays."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aegis_langchain import AegisCallbackHandler, GovernedChatModel
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import tool

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError
from aegis_core.testing import ModelScript, Turn
from integrations.calling import aegis, governor

from .harness import ScriptedChat

__all__ = ["aegis", "governor"]

MANAGER = "langchain_core.callbacks.manager"


@pytest.fixture
def broke(governor: SyncGovernor, aegis: SyncGovernedAgent) -> SyncGovernedAgent:
    governor.set_budget("agent", aegis.agent_id, "day", "0.000001")
    return aegis


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, MANAGER)
    return caplog


def lines(logged: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in logged.records if record.name == MANAGER]


def model() -> ScriptedChat:
    return ScriptedChat(ModelScript(Turn("Sunny.")))


@tool
def pay(amount: int) -> str:
    """Pay."""
    return "Paid."


def test_refusals_are_not_logged(broke: SyncGovernedAgent, logged: pytest.LogCaptureFixture) -> None:
    handler = AegisCallbackHandler(broke, costs={"pay": 1})
    config: Any = {"callbacks": [handler]}
    for call in (
        lambda: model().invoke("Hm?", config),
        lambda: asyncio.run(model().ainvoke("Hm?", config)),
        lambda: list(model().stream("Hm?", config)),
        lambda: pay.invoke({"amount": 3}, config),
        lambda: GovernedChatModel(aegis=broke, models=model()).with_fallbacks([model()]).invoke("Hm?"),
    ):
        with pytest.raises(AegisDenied):
            call()
    assert lines(logged) == []


class Loud(BaseCallbackHandler):
    """Another handler that raises the same kind of error, or another one."""

    def __init__(self, error: BaseException, *, stops: bool = False) -> None:
        self.error, self.raise_error = error, stops

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        raise self.error

    def on_llm_error(self, *_: Any, **__: Any) -> None:
        raise self.error


class AegisCallbackHandlerOfMine(AegisCallbackHandler):
    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError("mine")


def denial(broke: SyncGovernedAgent) -> AegisDenied:
    with pytest.raises(AegisDenied) as caught, broke.permit("Work", estimated_cost_usd=1):
        pass
    return caught.value


def test_what_others_raise_is_logged_beside_it(broke: SyncGovernedAgent, logged: pytest.LogCaptureFixture) -> None:
    """Also a refusal that another handler came by, and what is raised while LangChain handles ours."""
    loud = Loud(denial(broke))
    with pytest.raises(AegisDenied):
        model().invoke("Hm?", {"callbacks": [loud, Loud(KeyError("x")), AegisCallbackHandler(broke)]})
    found = lines(logged)
    assert [line.partition(" callback:")[0] for line in found] == ["Error in Loud.on_chat_model_start"] * 2
    assert "AegisDenied" in found[0]
    assert "KeyError" in found[1]


def test_other_errors_of_ours_are_logged(aegis: SyncGovernedAgent, logged: pytest.LogCaptureFixture) -> None:
    """A price that is not known is no refusal, and neither is a subclass's own error."""
    unknown = ScriptedChat(ModelScript(Turn("Sunny."), model="nobodys-model"))
    with pytest.raises(AegisError):
        unknown.invoke("Hm?", {"callbacks": [AegisCallbackHandler(aegis)]})
    with pytest.raises(ValueError, match="mine"):
        model().invoke("Hm?", {"callbacks": [AegisCallbackHandlerOfMine(aegis)]})
    found = lines(logged)
    assert len(found) == 2
    assert "AegisCallbackHandler.on_chat_model_start" in found[0]
    assert "AegisCallbackHandlerOfMine.on_chat_model_start" in found[1]


def test_a_program_that_logs_a_refusal_itself_does_so(
    broke: SyncGovernedAgent, logged: pytest.LogCaptureFixture
) -> None:
    try:
        model().invoke("Hm?", {"callbacks": [AegisCallbackHandler(broke)]})
    except AegisDenied as denied:
        logging.getLogger(MANAGER).warning("The run ended: %s", denied)
        logging.getLogger(MANAGER).exception("It was refused")
    assert len(lines(logged)) == 2
