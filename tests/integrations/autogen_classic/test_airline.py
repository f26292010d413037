"""A hundred recorded runs through classic AutoGen: every call is made, paid for and, where a rule asks, approved once.

`pyautogen` 0.2 replays the first twenty.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aegis_autogen import register_governor
from autogen import ConversableAgent

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing import ToolUse, Turn
from integrations.airline import (
    AGENT,
    APPROVALS,
    CAP,
    MODEL,
    MODEL_CALLS,
    TOOL_CALLS,
    TOOL_USD,
    Answer,
    ApprovingOperator,
    Flight,
    Run,
    Totals,
    airline_governor,
    daily_and_deep,
    read_runs,
    recorded,
    spent_in_all,
)

from .harness import QUIET, ends, response_of


class RecordedClient:
    """The recorded model."""

    def __init__(self, config: dict[str, Any], flight: Flight) -> None:
        self._flight = flight

    def create(self, params: dict[str, Any]) -> Any:
        assert params["max_tokens"] == CAP
        return response_of(turn_of(self._flight.answer(params["messages"][-1]["content"])), params["model"])

    def message_retrieval(self, response: Any) -> list[Any]:
        return [choice.message for choice in response.choices]

    def cost(self, response: Any) -> float:
        return 0.0

    @staticmethod
    def get_usage(response: Any) -> dict[str, Any]:
        return dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "cost"), 0) | {"model": MODEL}


def turn_of(answer: Answer) -> Turn:
    tools = (ToolUse(answer.tool, json.loads(answer.arguments), answer.call_id),) if answer.tool else ()
    return Turn(answer.text, tools, (answer.input_tokens, answer.output_tokens))


def replay(run: Run, aegis: SyncGovernedAgent) -> Flight:
    flight = Flight(run)
    entry = {"model": MODEL, "model_client_cls": "RecordedClient", "api_key": "none", "max_tokens": CAP}
    config: Any = {"config_list": [entry], "cache_seed": None}
    assistant = ConversableAgent("assistant", system_message="", llm_config=config, **QUIET)
    user = ConversableAgent("user", llm_config=False, is_termination_msg=ends, **QUIET)
    user.register_function({name: tool_of(flight, name) for name in run.tools})
    assistant.register_model_client(model_client_cls=RecordedClient, flight=flight)
    for agent in (assistant, user):
        register_governor(agent, aegis, costs=lambda _tool, _arguments: TOOL_USD)
    for position, exchange in enumerate(run.exchanges):
        user.initiate_chat(assistant, message=exchange.user, clear_history=position == 0, silent=True, max_turns=60)
    return flight


def tool_of(flight: Flight, name: str) -> Any:
    return lambda **arguments: flight.use(name, arguments)


@daily_and_deep
def test_every_recorded_call_is_made_and_paid_for_once(shared_data: Path, tmp_path: Path, every: int) -> None:
    runs = read_runs(shared_data, every)
    expected = recorded(runs)
    totals = Totals()
    with airline_governor(tmp_path, asks=True) as governor, ApprovingOperator(governor) as operator:
        aegis = governor.handshake(AGENT)
        for run in runs:
            totals.add(replay(run, aegis))
        assert spent_in_all(governor) == (totals.usd, 0)
    assert (totals.model_calls, totals.tool_calls, totals.escalated) == expected
    assert len(operator.approved) == expected[2]
    assert every > 1 or expected == (MODEL_CALLS, TOOL_CALLS, APPROVALS)
