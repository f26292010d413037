"""A question that nobody needs answered any more is taken back in one way, and its event says by whom."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from two_doors import governor, settings, url  # noqa: F401 - fixtures

from aegis_core import AegisDenied, Governor
from aegis_core.protocol.errors import ConflictError

pytestmark = pytest.mark.concurrent

WISH: dict[str, Any] = {"resource_type": "api_call", "estimated_cost_usd": 7, "request_id": "one"}


async def events_of(governor: Governor) -> list[Any]:  # noqa: F811
    return [one.facts.get("withdrawn_by") for one in await governor.latest_events(50) if one.kind == "released"]


@pytest.mark.parametrize("by", ["agent", "thread"])
async def test_who_takes_a_question_back_is_said(governor: Governor, by: Literal["agent", "thread"]) -> None:  # noqa: F811
    agent = await governor.handshake("payer")
    asked = await agent.request("Pay", **WISH)
    for _ in range(2):  # the same again is a harmless repeat
        receipt = await agent.release(asked.grant_id or "", by=by)
    assert receipt.repeated  # pyright: ignore[reportPossiblyUnboundVariable]
    found = await governor.approvals.get(asked.escalation_id or "")
    assert (found.status, found.withdrawn_by) == ("withdrawn", by)
    assert (await agent.request("Pay", **WISH)).code == "withdrawn"
    assert await events_of(governor) == [by]


async def test_a_caller_that_gives_up_takes_its_question_back(governor: Governor) -> None:  # noqa: F811
    agent = await governor.handshake("payer")
    with pytest.raises(AegisDenied):
        async with agent.permit("Pay", wait=0, **WISH):
            pytest.fail("nobody approved it")
    (found,) = await governor.approvals.list("ended")
    assert (found.status, found.withdrawn_by) == ("withdrawn", "caller")
    assert await events_of(governor) == ["caller"]


async def test_a_grant_is_given_back_as_ever(governor: Governor) -> None:  # noqa: F811
    agent = await governor.handshake("payer")
    granted = await agent.request("Pay", **WISH | {"estimated_cost_usd": 1})
    await agent.release(granted.grant_id or "", by="caller")
    assert await events_of(governor) == [None]


async def test_what_was_approved_meanwhile_is_not_taken_back_for_a_thread(governor: Governor) -> None:  # noqa: F811
    """Somebody may be running it by now."""
    agent = await governor.handshake("payer")
    asked = await agent.request("Pay", **WISH)
    await governor.approvals.decide(asked.escalation_id or "", "approve", by="ada")
    with pytest.raises(ConflictError):
        await agent.release(asked.grant_id or "", by="thread")
    assert (await agent.request("Pay", **WISH)).granted
    with pytest.raises(ConflictError):
        await agent.release(asked.grant_id or "", by="thread")
    await agent.release(asked.grant_id or "")
