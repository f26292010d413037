"""Priority, density and kind of task: a value or a function of the call, in each request, for rules to match."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis_core import ConfigurationError, Settings, connect_sync
from aegis_core.adapting import CallGovernor, ModelCall, ToolCall
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.denial import AegisDenied

RULES = {
    "schema": 1,
    "rules": [
        {"name": "calm", "type": "condition", "effect": "deny", "expr": "request.priority >= 8"},
        {"name": "no-essays", "type": "condition", "effect": "deny", "expr": "request.task_type == 'essay'"},
        {"name": "easy", "type": "condition", "effect": "deny", "expr": "request.logic_density > 7"},
    ],
}
HELLO = ModelCall([{"role": "user", "content": "Hello"}], model="gpt-4o-mini", max_output_tokens=20)
PAY, READ = ToolCall("pay", {"amount": 3}), ToolCall("read", {})


@pytest.fixture
def governor(settings: Settings, tmp_path: Path) -> Iterator[SyncGovernor]:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(RULES))
    with connect_sync(settings=settings.model_copy(update={"policy_file": rules})) as governor:
        yield governor


@pytest.fixture
def aegis(governor: SyncGovernor) -> SyncGovernedAgent:
    return governor.handshake("a", max_priority=9)


def refused_by(aegis: Any, call: ModelCall | ToolCall, **wishes: Any) -> str | None:
    """The rule that refuses a call, if any."""
    calls = CallGovernor(aegis, framework="custom", **wishes)
    try:
        calls.begin(call).release()
    except AegisDenied as denied:
        return denied.verdict.rule
    return None


def named(value: object) -> str:
    """The same in every worker, also for a function."""
    return re.sub(r" at 0x\w+", "", str(value))


@pytest.mark.parametrize("call", [HELLO, PAY], ids=["model", "tool"])
@pytest.mark.parametrize(
    ("wishes", "rule"),
    [
        ({}, None),
        ({"priority": 7, "logic_density": 7, "task_type": "chat"}, None),
        ({"priority": 8}, "calm"),
        ({"task_type": "essay"}, "no-essays"),
        ({"logic_density": 8}, "easy"),
        ({"priority": lambda call: 9}, "calm"),
        ({"task_type": lambda call: None}, None),
    ],
    ids=named,
)
def test_rules_match_what_a_program_says_of_its_calls(
    aegis: SyncGovernedAgent, call: Any, wishes: dict[str, Any], rule: str | None
) -> None:
    assert refused_by(aegis, call, **wishes) == rule


def test_a_function_tells_calls_apart(aegis: SyncGovernedAgent) -> None:
    def urgency(call: ModelCall | ToolCall) -> int | None:
        return 9 if isinstance(call, ToolCall) and call.tool == "pay" and call.arguments["amount"] > 2 else None

    found = [refused_by(aegis, call, priority=urgency) for call in (HELLO, READ, PAY, ToolCall("pay", {"amount": 1}))]
    assert found == [None, None, "calm", None]


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"priority": 0}, "priority= takes a whole number, 1 to 10; this is 0"),
        ({"logic_density": True}, "logic_density= takes a whole number, 1 to 10; this is True"),
        ({"task_type": 3}, "task_type= takes a text, or a function of the call; this is 3"),
        ({"priority": lambda call: "high"}, "priority= takes a whole number, 1 to 10; this is 'high'"),
    ],
    ids=named,
)
def test_what_cannot_be_is_said(aegis: SyncGovernedAgent, wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        refused_by(aegis, PAY, **wishes)
    assert said in caught.value.message
