"""An agent that pays again and again from a wallet that another one shares. Each payment is of another amount.

Usage: python sharing.py langgraph|autogen URL TENANT CHAINS_FILE RPC KEY FIRST TTL

Prints ``sent AMOUNT`` for each that it knows to be on its way.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from signing import GWEI, fields

import aegis_core
from aegis_core.errors import AegisDenied, ChainError, ConflictError
from aegis_core.testing import private_settings

Pay = Callable[[int], Awaitable[str]]


def payment(aegis: Any, rpc: str, key: str, ttl: float) -> Pay:
    """The tool that both frameworks call."""
    account: Any = Account.from_key(key)
    node = httpx.AsyncClient(trust_env=False, timeout=60)

    async def pay(amount: int) -> str:
        """Pay so many wei."""
        while True:
            asked = {
                "id": 1,
                "jsonrpc": "2.0",
                "method": "eth_getTransactionCount",
                "params": [account.address, "pending"],
            }
            nonce = int((await node.post(rpc, json=asked)).json()["result"], 16)
            said = fields(2, nonce=nonce, value=amount, gas=21_000, maxFeePerGas=3 * GWEI, maxPriorityFeePerGas=GWEI)
            raw = bytes(account.sign_transaction(said).raw_transaction)
            try:
                async with aegis.wallet("anvil", account.address).transact(raw, intent="Pay", wait=60, ttl=ttl) as tx:
                    await tx.send()
            except ConflictError:
                continue  # the other one had this nonce before
            except AegisDenied as denied:
                if denied.verdict.code not in {"lock_lost", "lock_timeout", "nonce_used", "gas_stale", "gas_unknown"}:
                    raise
                continue
            except ChainError as error:
                if error.facts.get("reason") == "refused":
                    continue
                return "nobody knows"  # it is watched, and never asked for again
            print(f"sent {amount}", flush=True)
            return "paid"

    return pay


async def with_langgraph(aegis: Any, pay: Pay, amounts: itertools.count[int]) -> None:
    from aegis_langgraph import GovernedToolNode
    from langchain_core.messages import AIMessage
    from langgraph.graph import END, START, MessagesState, StateGraph

    def model(_: MessagesState) -> Any:
        call = {"name": "pay", "args": {"amount": next(amounts)}, "id": "call-1"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", GovernedToolNode([pay], aegis))
    graph.add_edge(START, "model")
    graph.add_edge("model", "tools")
    graph.add_edge("tools", END)
    compiled = graph.compile()
    while True:
        await compiled.ainvoke({"messages": []})


async def with_autogen(aegis: Any, pay: Pay, amounts: itertools.count[int]) -> None:
    from aegis_autogen.agentchat import govern_tools
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core import FunctionCall
    from autogen_core.models import CreateResult, RequestUsage
    from autogen_ext.models.replay import ReplayChatCompletionClient

    info: Any = dict.fromkeys(("vision", "json_output", "structured_output", "family"), False)
    tools: Any = govern_tools([pay], aegis)
    while True:
        call = FunctionCall("call-1", json.dumps({"amount": next(amounts)}), "pay")
        answer = CreateResult(
            content=[call], finish_reason="function_calls", usage=RequestUsage(0, 0), cached=False,
        )  # fmt: skip
        client: Any = ReplayChatCompletionClient([answer], model_info=info | {"function_calling": True})
        await AssistantAgent("payer", client, tools=tools).run(task="Pay.")


async def main(framework: str, url: str, tenant: str, chains: str, rpc: str, key: str, first: str, ttl: str) -> None:
    settings = private_settings(url=url, tenant=tenant).model_copy(update={"chains_file": Path(chains)})
    async with aegis_core.connect(settings=settings) as governor:
        aegis = await governor.handshake(f"payer-{framework}-{first}")
        work = with_langgraph if framework == "langgraph" else with_autogen
        await work(aegis, payment(aegis, rpc, key, float(ttl)), itertools.count(int(first)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
