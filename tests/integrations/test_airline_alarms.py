"""What the shipped rules say of a hundred recorded runs of an airline's agent: nothing, of any prompt or tool call."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_core import Settings, connect_sync
from aegis_core.adapting import CallGovernor, ModelCall, ToolCall

from .airline import read_runs

RULES = Path(__file__).parents[2] / "aegis_core" / "policy" / "rules.json"


@pytest.mark.leaves("grants")
def test_no_word_of_a_hundred_runs_is_refused_or_asked_about(shared_data: Path, settings: Settings) -> None:
    """Each conversation as the model gets it at its end, and each call of a tool, by the rules that are shipped."""
    runs = read_runs(shared_data)
    rich = settings.model_copy(update={"policy_file": RULES, "agent_day_usd": 1_000, "tenant_day_usd": 1_000})
    asked = 0
    with connect_sync(settings=rich) as governor:
        calls = CallGovernor(governor.handshake("airline"), framework="custom")
        for run in runs:
            said: list[dict[str, object]] = []
            for exchange in run.exchanges:
                said.append({"role": "user", "content": exchange.user})
                said += [{"role": "assistant", "content": answer.text} for answer in exchange.answers if answer.text]
                for answer in exchange.answers:
                    if answer.tool:
                        assert calls.ask(ToolCall(answer.tool, answer.arguments)).granted, answer.tool
                        asked += 1
            assert calls.ask(ModelCall(said, model="gpt-4o-mini", max_output_tokens=50)).granted, run.name
    assert len(runs) == 100
    assert asked > 500
