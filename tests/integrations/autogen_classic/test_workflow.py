"""A group chat in a workflow: its manager and each of its agents join by their names, under one approval."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from aegis_autogen import govern_group_chat, uninstall
from autogen import ConversableAgent, GroupChat, GroupChatManager
from planned import approve_plan

from aegis_core import AegisDenied, Settings, Step, connect_sync
from aegis_core.protocol.errors import AuthError

from .harness import QUIET
from .server import Provider, provider

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("questions")]


@pytest.fixture
def shop() -> Iterator[Provider]:
    with provider(lambda body: "bob" if body["model"] == "gpt-4o-mini" else "I am here.") as running:
        yield running
    uninstall()


def test_a_group_chat_is_governed_as_one(settings: Settings, shop: Provider) -> None:
    members = [
        ConversableAgent(name, system_message="", description=name, llm_config=shop.config("gpt-4o"), **QUIET)
        for name in ("alice", "bob")
    ]
    group = GroupChat(agents=list(members), messages=[], max_round=3, speaker_selection_method="auto")
    manager = GroupChatManager(group, name="chair&co", llm_config=shop.config("gpt-4o-mini"))
    with connect_sync(settings=settings) as governor, ThreadPoolExecutor(1) as pool:
        plan = [Step(resource_type="llm_tokens", upto_usd="0.05")]
        for allowed in (("alice",), ("chair-co", "alice", "bob")):
            person = pool.submit(approve_plan, governor)
            with governor.workflow("talk", budget_usd="0.05", plan=plan, may_join=allowed) as flow:
                person.result(60)
                if len(allowed) == 1:
                    with pytest.raises(AuthError, match="only agents of other names"):
                        govern_group_chat(manager, flow)
                    uninstall()
                    continue
                govern_group_chat(manager, flow, max_output_tokens=64)
                members[0].initiate_chat(manager, message="Who is there?", silent=True)
                found = flow.report()
                assert [each.agent_id for each in found.members] == ["chair-co", "alice", "bob"]
                assert {each.agent_framework for each in found.members} == {"autogen"}
                calls = [shop.models.count(model) for model in ("gpt-4o-mini", "gpt-4o")]
                assert all(calls)
                spent = Decimal("0.000027") * calls[0] + Decimal("0.00045") * calls[1]
                assert (found.used_usd, found.plan.steps[0].uses, found.asked) == (spent, sum(calls), 0)
                governor.workflows.end(flow.workflow_id, by="ada")
                before = len(shop.requests)
                with pytest.raises(AegisDenied, match="workflow"):
                    members[0].initiate_chat(manager, message="And now?", silent=True)
                assert len(shop.requests) == before
