"""Classic AutoGen calls models of asynchronous chats in the loop's shared pool; who waits there keeps no chat out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aegis_autogen import register_governor
from autogen import ConversableAgent

from aegis_core import Settings, connect_sync
from aegis_core.client.sync import SyncGovernor
from aegis_core.testing import Drive, ModelScript, Turn

from .harness import QUIET, Run

pytestmark = pytest.mark.concurrent

PATIENCE = 60.0
THREADS = 2
RULES = {"schema": 1, "rules": [{"name": "ask", "type": "sensitive_intent", "phrases": ["sell the house"]}]}


@pytest.fixture
def governor(settings: Settings, tmp_path: Path) -> Iterator[SyncGovernor]:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(RULES))
    with connect_sync(settings=settings.model_copy(update={"policy_file": rules})) as connected:
        yield connected


def assistant(aegis: Any, said: str, intent: str) -> ConversableAgent:
    run = Run(ModelScript(Turn(said)), Drive())
    agent = ConversableAgent("assistant", system_message="Help.", llm_config=run.config(), **QUIET)
    run.activate(agent)
    register_governor(agent, aegis, intent=intent)
    return agent


async def asked(agent: ConversableAgent) -> str:
    user = ConversableAgent("user", llm_config=False, **QUIET)
    chat = await user.a_initiate_chat(agent, message="Go on.", max_turns=1)
    return str(chat.summary)


def test_chats_that_wait_for_a_person_keep_no_other_one_waiting(governor: SyncGovernor) -> None:
    async def work() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "asyncio"))
        selling = [assistant(governor.handshake(f"a{n}"), "Sold.", "Sell the house") for n in range(THREADS)]
        async with asyncio.timeout(PATIENCE):
            waiting = [asyncio.create_task(asked(each)) for each in selling]
            for _ in range(1_000):
                if len(governor.approvals.list()) == THREADS:
                    break
                await asyncio.sleep(0.05)
            assert await asked(assistant(governor.handshake("b"), "It is sunny.", "Look out")) == "It is sunny."
            assert len(governor.approvals.list()) == THREADS
            for each in governor.approvals.list():
                governor.approvals.decide(each.approval_id, "approve", by="lea")
            assert await asyncio.gather(*waiting) == ["Sold."] * THREADS

    asyncio.run(work())
