"""A grant is settled with what the provider answered, and what nobody knows is charged as reserved, and marked."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import aegis_core
from aegis_core import GovernedAgent, Governor, InvalidRequestError, Settings, UnknownModelError, Usage
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.usage import total_by

ASK: dict[str, Any] = {"model": "gpt-4o", "prompt_bytes": 8_000, "max_output_tokens": 600}
RESERVED = Decimal("0.016")
"""4,000 tokens at $2.50 and 600 at $10 a million."""
WORDS = "Four score and seven"


def chat(**usage: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": WORDS}}
    return {
        "id": "c1", "object": "chat.completion", "model": "gpt-4o-2024-08-06", "choices": [choice],
        "usage": {"prompt_tokens": 1_500, "completion_tokens": 30, "total_tokens": 1_530, **usage},
    }  # fmt: skip


def as_object(value: Any) -> Any:
    """The same as an SDK's object."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: as_object(each) for name, each in value.items()})
    return [as_object(each) for each in value] if isinstance(value, list) else value


def chunks() -> list[dict[str, Any]]:
    head = {"id": "c1", "object": "chat.completion.chunk", "model": "gpt-4o"}
    return [
        head | {"choices": [{"index": 0, "delta": {"content": WORDS}}]},
        head | {"choices": [], "usage": {"prompt_tokens": 1_500, "completion_tokens": 30, "total_tokens": 1_530}},
    ]


CACHED = chat(prompt_tokens_details={"cached_tokens": 1_000})
CLAUDE = {
    "id": "m", "type": "message", "role": "assistant", "model": "claude-opus-4-6", "content": [],
    "stop_reason": "end_turn", "usage": {
        "input_tokens": 12, "output_tokens": 60, "cache_creation_input_tokens": 70_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 70_000},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "usd"),
    [
        (chat(), "0.00405"),
        (as_object(chat()), "0.00405"),
        (chunks(), "0.00405"),
        (iter(chunks()), "0.00405"),
        (CACHED, "0.0028"),
        (chat() | {"service_tier": "priority"}, "0.006885"),
    ],
    ids=["mapping", "object", "chunks", "iterator", "cached", "priority"],
)
async def test_an_answer_is_charged_to_the_nano_dollar(governor: Governor, answer: Any, usd: str) -> None:
    """$2.50, $1.25 and $10 a million; at the tier ``priority`` $4.25 and $17 (openai.com/api-priority-processing)."""
    agent = await governor.handshake("a")
    async with agent.permit("Answer", **ASK) as grant:
        grant.settle(response=answer)
    assert grant.receipt is not None
    assert (grant.receipt.charged_usd, grant.receipt.estimated) == (Decimal(usd), False)


async def test_what_is_written_to_a_cache_for_an_hour_costs_twice(governor: Governor) -> None:
    """claude-opus-4-6: $5 and $25 a million, twice the first for what stays an hour."""
    agent = await governor.handshake("a")
    async with agent.permit("Answer", model="claude-opus-4-6", estimated_cost_usd=1) as grant:
        grant.settle(response=CLAUDE)
    assert grant.receipt is not None
    assert grant.receipt.charged_usd == Decimal("0.70156")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (chat() | {"usage": None}, "no usage"),
        (chat(prompt_tokens=-5), "cannot be"),
        (chat(completion_tokens="30"), "no count"),
        (chat(prompt_tokens_details={"cached_tokens": 9_999}), "contradict"),
        ("<html>502 Bad Gateway</html>", "could not be read"),
        (None, "no usage"),
        (object(), "no usage"),
        (chat() | {"service_tier": "ultrafast"}, "no known price"),
    ],
    ids=["none", "negative", "text", "impossible", "unreadable", "nothing", "object", "unpriced"],
)
async def test_what_cannot_be_known_costs_the_reservation_and_fails_nothing(
    governor: Governor, answer: Any, why: str, heard: pytest.LogCaptureFixture
) -> None:
    agent = await governor.handshake("a")
    async with agent.permit("Answer", **ASK) as grant:
        grant.settle(response=answer)
    assert grant.receipt is not None
    assert (grant.receipt.charged_usd, grant.receipt.estimated) == (RESERVED, True)
    assert why in heard.text
    event = (await governor.events())[-1]
    assert (event.kind, event.facts["estimated"]) == ("settled", True)


async def test_counts_beyond_what_was_sent_are_not_believed(governor: Governor) -> None:
    """A server that adds up its running totals reports more than any request of this length can be."""
    agent = await governor.handshake("a")
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "How old is the moon?"}], "max_tokens": 40}
    for usage, usd, estimated in (
        ({"prompt_tokens": 13, "completion_tokens": 30}, "0.0003325", False),
        ({"prompt_tokens": 51_000, "completion_tokens": 30}, "0.016", True),
        ({"prompt_tokens": 13, "completion_tokens": 41}, "0.016", True),
    ):
        async with agent.permit("Answer", **ASK) as grant:
            grant.settle(response=chat(**usage, total_tokens=sum(usage.values())), request=body)
        assert grant.receipt is not None
        assert (grant.receipt.charged_usd, grant.receipt.estimated) == (Decimal(usd), estimated)


@pytest.mark.parametrize("size", [{"prompt_bytes": 8_000}, {"prompt_tokens": 4_000}], ids=["bytes", "tokens"])
async def test_counts_beyond_the_sizes_that_were_asked_with_are_not_believed(
    governor: Governor, size: dict[str, int], heard: pytest.LogCaptureFixture
) -> None:
    agent = await governor.handshake("a")
    ask: dict[str, Any] = {"model": "gpt-4o", "max_output_tokens": 600, **size}
    for sent, said, usd, estimated in (
        (4_100, 30, "0.01055", False),  # framing, within the reservation
        (4_100, 600, "0.016", True),
        (51_000, 30, "0.016", True),
        (1_500, 9_000, "0.016", True),
    ):
        usage = {"prompt_tokens": sent, "completion_tokens": said, "total_tokens": sent + said}
        async with agent.permit("Answer", **ask) as grant:
            grant.settle(response=chat(**usage))
        assert grant.receipt is not None
        assert (grant.receipt.charged_usd, grant.receipt.estimated) == (Decimal(usd), estimated)
    event = (await governor.events())[-1]
    assert (event.kind, event.facts["estimated"]) == ("settled", True)
    assert "counts more than the request allowed" in heard.text


async def test_counts_are_judged_by_the_sizes_of_the_grant_that_is_settled_by_its_id(governor: Governor) -> None:
    agent = await governor.handshake("a")
    usage = {"prompt_tokens": 51_000, "completion_tokens": 30, "total_tokens": 51_030}
    for sizes, usd, estimated in (
        (ASK, "0.016", True),
        ({"model": "gpt-4o", "estimated_cost_usd": 1}, "0.1278", False),
    ):
        grant = (await agent.request("Answer", **sizes)).grant_id or ""
        receipt = await agent.settle(grant, response=chat(**usage))
        assert (receipt.charged_usd, receipt.estimated) == (Decimal(usd), estimated)
        assert (await agent.settle(grant, response=chat(**usage))).repeated


async def test_fewer_counts_than_were_certainly_sent_are_not_believed(
    governor: Governor, heard: pytest.LogCaptureFixture
) -> None:
    """8,000 bytes are 32 tokens at the very least."""
    agent = await governor.handshake("a")
    for sent, usd, estimated in ((31, "0.016", True), (32, "0.00038", False)):
        usage = {"prompt_tokens": sent, "completion_tokens": 30, "total_tokens": sent + 30}
        async with agent.permit("Answer", **ASK) as grant:
            grant.settle(response=chat(**usage))
        assert grant.receipt is not None
        assert (grant.receipt.charged_usd, grant.receipt.estimated) == (Decimal(usd), estimated)
    assert "31 input tokens are fewer than the 32 that were sent" in heard.text


async def test_counts_that_the_sizes_allow_are_charged_whatever_they_cost(governor: Governor) -> None:
    """A project's default can raise the tier unseen, and its price is the truth."""
    agent = await governor.handshake("a")
    usage = {"prompt_tokens": 4_000, "completion_tokens": 600, "total_tokens": 4_600}
    async with agent.permit("Answer", **ASK) as grant:
        grant.settle(response=chat(**usage) | {"service_tier": "priority"})
    assert grant.receipt is not None
    assert (grant.receipt.charged_usd, grant.receipt.estimated) == (Decimal("0.0272"), False)


async def test_an_answer_without_a_name_is_of_the_model_that_was_asked_for(governor: Governor) -> None:
    agent = await governor.handshake("a")
    converse = {"output": {"message": {"role": "assistant", "content": [{"text": WORDS}]}}, "stopReason": "end_turn",
                "usage": {"inputTokens": 900, "outputTokens": 20, "totalTokens": 920}}  # fmt: skip
    name = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
    async with agent.permit("Answer", **ASK | {"model": name}) as grant:
        grant.settle(response=converse)
    assert grant.receipt is not None
    assert (grant.receipt.charged_usd, grant.receipt.estimated) == (Decimal("0.0033"), False)


async def test_an_agent_settles_a_grant_with_an_answer(governor: Governor) -> None:
    agent = await governor.handshake("a")
    first, second = [(await agent.request("Answer", **ASK)).grant_id or "" for _ in range(2)]
    assert (await agent.settle(first, response=chat(), outcome=0.9)).charged_usd == Decimal("0.00405")
    receipt = await agent.settle(second, response=chat() | {"model": "gpt-4o", "usage": {}})
    assert (receipt.charged_usd, receipt.estimated) == (RESERVED, True)


async def test_an_answer_stands_alone(governor: Governor) -> None:
    agent = await governor.handshake("a")
    async with agent.permit("Answer", **ASK) as grant:
        for more in ({"cost_usd": 1}, {"usage": Usage(model="gpt-4o")}, {"estimated": True}):
            with pytest.raises(InvalidRequestError, match=r"response: stands for .* give one of them"):
                grant.settle(response=chat(), **more)
        grant.settle(cost_usd=0)


async def test_a_program_may_say_itself_that_it_does_not_know(governor: Governor) -> None:
    agent = await governor.handshake("a")
    for said, usd in (({}, "0.016"), ({"cost_usd": "0.01"}, "0.01"), ({"usage": Usage(model="nobody/knows")}, "0.016")):
        grant = (await agent.request("Answer", **ASK)).grant_id or ""
        receipt = await agent.settle(grant, estimated=True, **said)  # type: ignore[arg-type]
        assert (receipt.charged_usd, receipt.estimated) == (Decimal(usd), True)
        again = await agent.settle(grant, estimated=True, **said)  # type: ignore[arg-type]
        assert (again.repeated, again.charged_usd) == (True, Decimal(usd))
    grant = (await agent.request("Answer", **ASK)).grant_id or ""
    with pytest.raises(UnknownModelError):
        await agent.settle(grant, usage=Usage(model="nobody/knows", input_tokens=5))
    await agent.release(grant)


def test_plain_code_settles_with_an_answer(settings: Settings) -> None:
    with aegis_core.connect_sync(settings=settings) as governor:
        agent = governor.handshake("a")
        with agent.permit("Answer", **ASK) as grant:
            grant.settle(response=as_object(chat()))
        assert grant.receipt is not None
        assert grant.receipt.charged_usd == Decimal("0.00405")
        other = agent.request("Answer", **ASK).grant_id or ""
        assert agent.settle(other, response="{").estimated


async def test_the_bill_says_how_much_of_it_is_estimated(governor: Governor, settings: Settings) -> None:
    agent = await governor.handshake("a")
    async with agent.permit("Answer", **ASK) as grant:
        grant.settle(response=chat())
    async with agent.permit("Answer", **ASK) as grant:
        grant.settle(response="")
    assert isinstance(governor.port, ResourceGovernor)
    rows = await governor.port.usage([datetime.now(ZoneInfo(settings.timezone)).date()])
    (total,) = total_by(rows, "agent")
    assert (total.calls, total.cost_usd, total.estimated_usd) == (2, RESERVED + Decimal("0.00405"), RESERVED)


async def test_what_expired_is_estimated_until_it_is_settled(settings: Settings) -> None:
    short = settings.model_copy(update={"grant_seconds": 0.05})
    async with aegis_core.connect(settings=short) as governor:
        agent = await governor.handshake("a")
        grant = (await agent.request("Answer", **ASK)).grant_id or ""
        await _expired(agent, governor)
        assert isinstance(governor.port, ResourceGovernor)
        day = [datetime.now(ZoneInfo(settings.timezone)).date()]
        assert [row.estimated_usd for row in await governor.port.usage(day)] == [RESERVED]
        receipt = await agent.settle(grant, response=chat())
        assert (receipt.late, receipt.estimated, receipt.charged_usd) == (True, False, Decimal("0.00405"))
        assert [(row.cost_usd, row.estimated_usd) for row in await governor.port.usage(day)] == [
            (Decimal("0.00405"), Decimal(0))
        ]


async def _expired(agent: GovernedAgent, governor: Governor) -> None:
    """Until the deadline is noticed, which the next request does."""
    for _ in range(200):
        if any(event.kind == "expired" for event in await governor.events()):
            return
        await agent.request("Look", resource_type="api_call", estimated_cost_usd=99)
    pytest.fail("nothing expired")
