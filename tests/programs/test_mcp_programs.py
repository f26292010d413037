"""Programs whose tools are those of an MCP server: the official SDK, a process of its own, asked by stdio."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from aegis_autogen.agentchat import GovernedChatCompletionClient, govern_tools
from aegis_langchain import AegisMiddleware
from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.tools.mcp import McpWorkbench, StdioServerParams
from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langchain_openai import ChatOpenAI
from paid_model import MODEL, Reply, Said, check_books, provider, results

from aegis_core.client.sync import SyncGovernor

DESK = str(Path(__file__).with_name("mcp_desk.py"))


def costs(name: str, arguments: dict[str, Any]) -> Any:
    """A look-up is a cent; a payment is what it sends."""
    return "0.01" if name == "rate" else arguments["euros"]


def asking(*calls: tuple[str, dict[str, Any]]) -> Reply:
    """A model that calls these, each after the answer of the one before, and says what came back last."""

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        found = results(messages)
        return Said(calls=(calls[len(found)],)) if len(found) < len(calls) else Said(f"Done: {found[-1]}")

    return reply


STEPS = (("rate", {"currency": "CHF"}), ("send", {"to": "Lea", "euros": 2}), ("send", {"to": "Eve", "euros": 7}))


async def test_an_agent_of_langchain_with_tools_of_mcp(governor: SyncGovernor, tmp_path: Path) -> None:
    """Two calls are paid for and reach the server; the third is more than the day allows, and never does."""
    ledger = tmp_path / "ledger"
    desk: Any = {"desk": {"transport": "stdio", "command": sys.executable, "args": [DESK, str(ledger)]}}
    with provider(asking(*STEPS)) as serves:
        aegis = governor.handshake("cashier")
        governor.set_budget("agent", "cashier", "day", 5)
        model = ChatOpenAI(model=MODEL, base_url=serves.url, api_key="none", max_tokens=200, max_retries=0)  # type: ignore[arg-type]
        async with MultiServerMCPClient(desk).session("desk") as session:
            tools = await load_mcp_tools(session)
            agent: Any = create_agent(model, tools, middleware=[AegisMiddleware(aegis, costs=costs)])
            said = (await agent.ainvoke({"messages": [("user", "Pay Lea two, and Eve seven.")]}))["messages"]
        assert "it costs up to $7.00" in said[-1].text
        assert ledger.read_text().splitlines() == ["1 EUR = 0.94 CHF", "sent 2 to Lea"]
        assert serves.offered() == [{"rate", "send"}] * 4
        check_books(governor, serves, "2.01")


@pytest.mark.deep
async def test_a_workbench_of_agentchat_with_tools_of_mcp(governor: SyncGovernor, tmp_path: Path) -> None:
    """The same through agentchat's workbench."""
    ledger = tmp_path / "ledger"
    desk = StdioServerParams(command=sys.executable, args=[DESK, str(ledger)], read_timeout_seconds=60)
    with provider(asking(*STEPS)) as serves:
        aegis = governor.handshake("cashier")
        governor.set_budget("agent", "cashier", "day", 5)
        inner = OpenAIChatCompletionClient(
            model=MODEL, base_url=serves.url, api_key="none", max_tokens=200, max_retries=0
        )
        async with McpWorkbench(desk) as workbench:
            governed: Any = govern_tools(workbench, aegis, costs=costs)
            agent = AssistantAgent(
                "cashier", GovernedChatCompletionClient(inner, aegis), workbench=governed, max_tool_iterations=4,
                reflect_on_tool_use=True,
            )  # fmt: skip
            ended = await agent.run(task="Pay Lea two, and Eve seven.")
        assert "it costs up to $7.00" in str(ended.messages[-1].to_text())
        assert ledger.read_text().splitlines() == ["1 EUR = 0.94 CHF", "sent 2 to Lea"]
        check_books(governor, serves, "2.01")
