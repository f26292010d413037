"""The plan of a workflow on Telegram: seen as a table, made smaller by a reply, approved by a press."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from asking import AS_OPERATOR, Asking
from botapi import ANA, BOB, CHAT, STRANGER, BotApi

import aegis_core
from aegis_core import Step
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.protocol.workflows import Workflow

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("questions")]

VERA = 33
PLAN = [Step(tool="look", times=4, upto_usd="0.25"), Step(resource_type="llm_tokens", upto_usd=6)]


def opened(place: Asking) -> Future[Workflow]:
    """A program that waits for its plan to be approved, and goes without ending it; its result: as it was approved."""

    def work() -> Workflow:
        with aegis_core.connect_sync(place.url, tenant=place.settings.tenant) as governor:
            opener = governor.inner
            block = opener.workflow("close the books", budget_usd=7, until="2h", plan=PLAN)
            return governor._portal.run(block.__aenter__()).workflow

    return place.pool.submit(work)


async def people(governor: ResourceGovernor) -> None:
    add = governor.operator.people.add
    await add("ana", "approver", telegram=ANA, author="root")
    await add("bob", "approver", telegram=BOB, author="root")
    await add("vera", "viewer", telegram=VERA, author="root")


def test_a_reply_makes_a_plan_smaller_and_a_press_approves_what_is_left(place: Asking, telegram: BotApi) -> None:
    place.on_redis(people)
    waiting = opened(place)
    message = telegram.announced()
    assert "Reply budget 8 · step 2 3 · step 2 $0.50 · time 30m to make the plan smaller." in message.text
    before = message.buttons["APPROVE"]

    def said(text: str, user: int = ANA) -> str:
        return telegram.reply(telegram.write(text, user, reply_to=message))

    for nothing, why in (
        ("budget is too high", "budget_usd: is not an amount"), ("step 2", "step: must be a number and times"),
        ("budget 5, 50", "&#x27;50&#x27; is not understood"), ("step 7 1", "there is no step 7"),
    ):  # fmt: skip
        assert why in (found := said(nothing))
        assert found.endswith("Nothing was changed or decided. To reject with a reason, begin with another word.")
    assert "A plan is only made smaller" in said("budget 8")
    assert "may look, and decides nothing" in said("budget 1", VERA)
    assert f"Your user id is {STRANGER}" in said("budget 1", STRANGER)
    assert not waiting.done()
    assert said("Budget: $5, step 1 2 $0.20\ntime 30m", BOB) == (
        "Edited: $5.00 in all, 30 min from its approval on. 1. look: 2 ×, $0.20 each; 2. llm_tokens: any number, $6.00 "
        "in all. It waits for a decision."
    )
    telegram.shows(message, "2 steps, $5.00 in all (edited)", "1. look: 2 ×, $0.20 each", "30 min from its approval on")
    assert "changed since" in telegram.press(message, "", data=before)
    assert telegram.press(message, "APPROVE").startswith("Approved by ana")
    flow = waiting.result(60)
    assert (flow.plan.budget_usd, flow.plan.seconds, flow.plan.steps[0].times) == (5, 1800, 2)

    assert said("step 2 $1").endswith("2. llm_tokens: any number, $1.00 in all. It is in force.")
    assert "decided already" in said("no, not today")
    told = [each["by"] for each in place.events("workflow_narrowed")]
    assert told == ["bob", "ana"]
    place.http.delete(f"{place.url}/api/v1/workflows/{flow.workflow_id}", headers=AS_OPERATOR)
    assert "has ended" in said("budget 1")


def test_any_other_reply_rejects_a_plan(place: Asking, telegram: BotApi) -> None:
    waiting = opened(place)
    message = telegram.announced()
    assert telegram.reply(telegram.write("a budget of 2 would do", reply_to=message)).startswith("Rejected by ana")
    with pytest.raises(aegis_core.AegisDenied, match="rejected its plan"):
        waiting.result(60)
    assert "budget 8, step 2 3" in telegram.reply(telegram.write("/help", ANA, chat=CHAT))
