"""The third party's ledger, as the adapters' tests have it, through the proxy: 3 calls, 525 tokens, then a refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import openai
import pytest
from stands import Stand, standing

from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.testing import private_settings
from tests.integrations.ledger import CATALOG, S2, s2

assert s2  # a fixture

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather", "description": "Get weather for a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}  # fmt: skip


@pytest.fixture
def before_s2(s2: S2, server_url: str, tmp_path: Path) -> Iterator[Stand]:
    """A proxy before the ledger's server, with a price of $1 a million tokens for its model."""
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(CATALOG))
    settings = private_settings(url=server_url, tenant=f"t-{uuid4().hex[:12]}", catalog_file=catalog)
    with standing(settings, tmp_path, url=s2.url) as found:
        yield found


@pytest.fixture
def key(before_s2: Stand) -> ProxyKey:
    return before_s2.key(budget=S2.budget_usd, min_output_tokens=1)


def agrees(stand: Stand, scenario: S2, key: ProxyKey, error: BaseException) -> None:
    """As `S2.agrees`; the error is that of the client's own SDK."""
    text = str(error)
    assert "Aegis refused this call of mock-budget-llm: it costs up to" in text
    entries = scenario.entries()
    assert [entry["total_tokens"] for entry in entries] == [125, 175, 225]
    assert scenario.cities == ["Seattle", "Portland", "San Francisco"]
    stand.ended(key.terms.agent_id, 3)
    assert stand.left(key.terms.agent_id) == Decimal(S2.budget_usd) - Decimal("0.000525")


def test_a_loop_with_the_official_sdk(before_s2: Stand, s2: S2, key: ProxyKey) -> None:
    said: list[Any] = [{"role": "user", "content": s2.user}]

    def run() -> None:
        with openai.OpenAI(base_url=f"{before_s2.url}/v1", api_key=key.secret, timeout=30) as client:
            while True:
                answer = client.chat.completions.create(
                    model=s2.model, messages=said, tools=[TOOL], max_completion_tokens=s2.cap
                )
                message = answer.choices[0].message
                said.append(message.model_dump(exclude_none=True))
                for call in message.tool_calls or ():
                    found: Any = call
                    text = s2.get_weather(**json.loads(found.function.arguments))
                    said.append({"role": "tool", "tool_call_id": call.id, "content": text})

    with pytest.raises(openai.APIStatusError) as refused:
        run()
    assert refused.value.status_code == 402
    agrees(before_s2, s2, key, refused.value)


def test_an_agent_of_langchain(before_s2: Stand, s2: S2, key: ProxyKey) -> None:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        model=s2.model,
        base_url=f"{before_s2.url}/v1",
        api_key=key.secret,
        max_completion_tokens=s2.cap,  # type: ignore[arg-type]
    )
    agent: Any = create_agent(model, tools=[s2.get_weather])
    with pytest.raises(openai.APIStatusError) as refused:
        agent.invoke({"messages": [{"role": "user", "content": s2.user}]})
    agrees(before_s2, s2, key, refused.value)


async def test_an_agent_of_autogen(before_s2: Stand, s2: S2, key: ProxyKey) -> None:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    info: Any = {
        "vision": False, "function_calling": True, "json_output": False, "family": "unknown",
        "structured_output": False,
    }  # fmt: skip
    client = OpenAIChatCompletionClient(
        model=s2.model, base_url=f"{before_s2.url}/v1", api_key=key.secret or "", model_info=info, max_tokens=s2.cap
    )
    agent = AssistantAgent("weather", client, tools=[s2.get_weather], system_message=None, max_tool_iterations=10)
    with pytest.raises(openai.APIStatusError) as refused:
        await agent.run(task=s2.user)
    await client.close()
    agrees(before_s2, s2, key, refused.value)
