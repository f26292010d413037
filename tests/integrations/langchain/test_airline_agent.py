"""A hundred recorded runs through `create_agent` with the middleware."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aegis_langchain import AegisMiddleware
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from integrations.airline import (
    AGENT,
    ESCALATED,
    ApprovingOperator,
    Flight,
    Totals,
    airline_governor,
    daily_and_deep,
    read_runs,
    recorded,
    spent_in_all,
)

from .flying import FlightChat, cost, fly, recorded_tools


@pytest.mark.timeout(400)
@daily_and_deep
def test_every_call_is_counted_and_every_escalated_one_asked_once(
    shared_data: Path, tmp_path: Path, every: int
) -> None:
    totals = Totals()
    runs = read_runs(shared_data, every)
    expected = recorded(runs)
    with airline_governor(tmp_path, asks=True) as governor, ApprovingOperator(governor) as operator:
        aegis = governor.handshake(AGENT)
        for run in runs:
            flight = Flight(run)
            middleware: Any = AegisMiddleware(aegis, costs=cost)
            agent = create_agent(
                FlightChat(flight), recorded_tools(flight), middleware=[middleware], checkpointer=InMemorySaver()
            )
            fly(agent, flight, aegis)
            totals.add(flight)
        assert (totals.model_calls, totals.tool_calls, totals.escalated) == expected
        assert len(operator.approved) == expected[2]
        assert set(Counter(operator.approved)) == set(ESCALATED)
        assert spent_in_all(governor) == (totals.usd, Decimal(0))
