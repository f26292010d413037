"""Calls that may take each other's place share one question, and one of them uses what was approved."""

from __future__ import annotations

import json
from functools import partial

import pytest
from lua import put_in_place

from aegis_core import Governor
from aegis_core.client.agent import GovernedAgent
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.messages import PermissionRequest, ReleaseRequest, Verdict
from aegis_core.protocol.parsing import parse
from aegis_core.testing import private_settings, virtual_governor
from tests.fundamentals.test_forgetting import resources

pytestmark = [pytest.mark.concurrent]

RULES = [{"name": "dear", "type": "max_cost", "limit_usd": "0.5", "effect": "escalate"}]
MUTANTS: dict[str, tuple[str, str, str]] = {
    "nobody joins": ("joined_question", "if joins and (asked or", "if false and (asked or"),
    "a lack of money joins nothing": ("joined_question", "(asked or code == 'budget_exceeded')", "asked"),
    "what asks nobody joins": ("joined_question", "(asked or code == 'budget_exceeded')", "(true or asked)"),
    "questions of other sessions are joined": ("joined_question", "E[R_SESSION] == sid and", ""),
    "what was declined is asked about again": ("joined_question", "E[R_STATE] == STATE_DECLINED and", "false and"),
    "what was declined is never asked about again": ("joined_question", "NOW < E[R_CHANGED] + DECLINED_FOR", "true"),
    "what is used is joined": ("joined_question", "E[R_STATE] == STATE_PENDING or unheard(E)", "true"),
    "what was approved is not joined": ("joined_question", "or unheard(E)", ""),
    "what is overdue is joined": ("joined_question", "and not overdue(E)", ""),
    "a smaller question is joined": ("joined_question", "and E[R_AMOUNT] >= joins[JOINS_AT_LEAST]", ""),
    "a question has no name": ("outcome", "if joins then call('SET',", "if false then call('SET',"),
    "all that wait use it": ("take_question", "call('DEL', place)", ""),
    "whatever was approved is taken": ("take_question", "if call('GET', place) ~= id then", "if not call('GET', place) then"),  # noqa: E501
}  # fmt: skip


async def ask(governor: Governor, agent: GovernedAgent, usd: str = "1", name: str = "n", at_least: int = 0) -> Verdict:
    message = parse(
        PermissionRequest, agent_id=agent.agent_id, session_id=agent.session.session_id, task_intent="Work",
        resource_type="compute", estimated_cost_usd=usd,
    )  # fmt: skip
    token = agent.session.session_token
    return await resources(governor).request_permission(message, token=token, joins=(name, at_least))


async def check() -> None:
    """What is promised of them."""
    settings = private_settings().model_copy(update={"agent_day_usd": 100})
    async with virtual_governor(settings) as (governor, clock, _):
        port = resources(governor)
        take = port.tenant_store.take_question
        await port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": RULES})), author="ada")
        agent, other, poor = [await governor.handshake(name) for name in ("a", "b", "c")]
        second = await governor.handshake("a")
        asked = partial(ask, governor, agent)

        first = await asked("1")
        assert first.status == "PENDING"
        assert (await asked("0.4")).granted, "it asks nobody"
        assert {(await asked(usd)).request_id for usd in ("1", "0.9")} == {first.request_id}
        assert len(await governor.approvals.list()) == 1
        for stranger in (other, second):
            theirs = await ask(governor, stranger, "1", "s")
            assert (await asked("1", "s")).request_id != theirs.request_id
        larger = await asked("1.1")
        assert larger.request_id != first.request_id
        assert (await asked("1")).request_id == larger.request_id, "the newest one"
        assert (await asked("1", at_least=10**12)).request_id != larger.request_id

        await governor.set_budget("agent", "c", "day", "1.5")
        only = await ask(governor, poor, "1", "p")
        assert (await ask(governor, poor, "1", "p")).request_id == only.request_id, "which holds the money"

        approved = await asked("1", "u")
        assert approved.escalation_id
        assert approved.grant_id
        await governor.approvals.decide(approved.escalation_id, "approve", by="ada")
        joined = await asked("0.7", "u")
        assert (joined.granted, joined.request_id) == (True, approved.request_id)
        assert not await take(first.grant_id or "", "u")
        assert [await take(approved.grant_id, "u") for _ in range(2)] == [True, False]
        assert (await port.wait_for(approved.grant_id, 0)).granted
        again = await asked("1", "u")
        assert again.request_id != approved.request_id
        await port.release(again.grant_id or "", ReleaseRequest(agent_id="a"))
        assert (await asked("1", "u")).status == "PENDING"

        declined = await asked("1", "d")
        assert declined.escalation_id
        await governor.approvals.decide(declined.escalation_id, "reject", by="ada")
        answer = await asked("0.8", "d")
        assert (answer.code, answer.request_id) == ("declined", declined.request_id)
        await clock.advance(seconds=61)
        assert (await asked("0.8", "d")).status == "PENDING"

        late = partial(ask, governor, await governor.handshake("e"))
        last = await late("1", "v")
        assert last.status == "PENDING"
        await clock.advance(days=1)  # more are overdue than one call ends
        assert (await late("1", "v")).request_id != last.request_id


async def test_the_shipped_scripts_keep_every_promise() -> None:
    await check()


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_mutant_of_shared_questions_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, MUTANTS[name])
    with pytest.raises(AssertionError):  # a script that does not run any more would prove nothing
        await check()
