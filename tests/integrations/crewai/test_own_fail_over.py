"""A fail-over that a program writes itself, in CrewAI."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from aegis_crewai import GovernedLLM
from crewai.llms.base_llm import BaseLLM
from pydantic import PrivateAttr

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing import ModelScript, Turn

from .harness import ScriptedLLM


class FailOver(BaseLLM):
    """Takes whatever happens for an outage."""

    _tried: list[Any] = PrivateAttr()

    def __init__(self, *tried: Any) -> None:
        super().__init__(model="gpt-4o-mini")
        self._tried = list(tried)

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        for each in self._tried:
            try:
                return each.call(messages)
            except Exception:
                continue
        raise ConnectionError("all are down")


def test_one_that_holds_a_governed_model_is_warned_of(aegis: SyncGovernedAgent) -> None:
    plain = ScriptedLLM(ModelScript(Turn("It is sunny.")))
    governed = GovernedLLM(aegis=aegis, models=ScriptedLLM(ModelScript(Turn("It rains."))))
    with pytest.warns(UserWarning, match="FailOver holds a governed model, and may call another one"):
        GovernedLLM(aegis=aegis, models=FailOver(governed, plain))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        GovernedLLM(aegis=aegis, models=FailOver(plain, plain))
