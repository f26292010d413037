"""A hundred recorded runs through `Agent.kickoff`, each exchange with the history before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aegis_crewai import GovernedLLM, govern_tools
from crewai import Agent
from crewai.llms.base_llm import BaseLLM
from crewai.tools import BaseTool
from pydantic import BaseModel, PrivateAttr

from integrations.airline import (
    AGENT,
    CAP,
    MODEL,
    TOOL_USD,
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


class RecordedLLM(BaseLLM):
    _flight: Flight = PrivateAttr()

    def __init__(self, flight: Flight) -> None:
        super().__init__(model=MODEL, max_tokens=CAP)
        self._flight = flight

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        last = messages[-1]
        answer = self._flight.answer(last["content"] if last["role"] == "tool" else None)
        self._track_token_usage_internal(
            {"prompt_tokens": answer.input_tokens, "completion_tokens": answer.output_tokens}
        )
        if not answer.tool:
            return answer.text
        return [{"id": answer.call_id, "function": {"name": answer.tool, "arguments": answer.arguments}}]

    def supports_function_calling(self) -> bool:
        return True

    def get_context_window_size(self) -> int:
        return 1_000_000


class Anything(BaseModel):
    """CrewAI hands over what the model said."""


class RecordedTool(BaseTool):
    args_schema: type[BaseModel] = Anything
    _flight: Flight = PrivateAttr()

    def __init__(self, name: str, flight: Flight) -> None:
        super().__init__(name=name, description=f"The airline's {name}.")
        self._flight = flight

    def _run(self, **arguments: Any) -> str:
        return self._flight.use(self.name, arguments)


def replayed(run: Run, aegis: Any) -> Flight:
    flight = Flight(run)
    history: list[Any] = []
    agent = Agent(
        role="Airline agent", goal="Serve", backstory="You serve.", max_iter=100, verbose=False, max_retry_limit=0,
        llm=GovernedLLM(aegis=aegis, models=RecordedLLM(flight)),
        tools=govern_tools([RecordedTool(name, flight) for name in run.tools], aegis,
                           costs=dict.fromkeys(run.tools, TOOL_USD)),
    )  # fmt: skip
    for exchange in run.exchanges:
        output: Any = agent.kickoff([*history, {"role": "user", "content": exchange.user}])
        assert output.raw == exchange.answers[-1].text
        history.append({"role": "user", "content": exchange.user})
        for answer in exchange.answers:
            if answer.tool:
                function = {"name": answer.tool, "arguments": answer.arguments}
                call = {"id": answer.call_id, "type": "function", "function": function}
                history += [
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "content": answer.result, "tool_call_id": answer.call_id, "name": answer.tool},
                ]
            else:
                history.append({"role": "assistant", "content": answer.text})
    return flight


@pytest.mark.timeout(900)
@daily_and_deep
@pytest.mark.parametrize("asks", [False, True], ids=["free", "asked"])
def test_every_call_is_governed_once(shared_data: Path, tmp_path: Path, asks: bool, every: int) -> None:
    totals = Totals()
    runs = read_runs(shared_data, every)
    expected = recorded(runs)
    with airline_governor(tmp_path, asks=asks) as governor, ApprovingOperator(governor) as operator:
        aegis = governor.handshake(AGENT)
        for run in runs:
            totals.add(replayed(run, aegis))
        assert (totals.model_calls, totals.tool_calls, totals.escalated) == expected
        assert len(operator.approved) == (expected[2] if asks else 0)
        assert spent_in_all(governor) == (totals.usd, 0)
