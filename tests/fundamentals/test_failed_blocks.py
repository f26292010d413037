"""What an exception in a `permit` block costs: nothing where certainly nothing was computed, else what was reserved."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest

import aegis_core
from aegis_core import AegisDenied, Governor, InvalidRequestError, Receipt, Settings
from aegis_core.client.grants import Grant, OnError
from aegis_core.client.sync import SyncGrant

ASK: dict[str, Any] = {"model": "gpt-4o", "prompt_bytes": 12_000, "max_output_tokens": 200}
RESERVED = Decimal("0.017")
"""6,000 tokens at $2.50 and 200 at $10 a million."""


class LengthFinishReasonError(Exception):
    """As OpenAI's SDK raises it for an answer that was cut at its cap and cannot be parsed."""

    def __init__(self) -> None:
        usage = {"prompt_tokens": 700, "completion_tokens": 200, "total_tokens": 900}
        self.completion = {"object": "chat.completion", "model": "gpt-4o-2024-08-06", "choices": [], "usage": usage}


def refused() -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    httpx.get(f"http://127.0.0.1:{port}/v1", trust_env=False)


def answered(status: int) -> None:
    httpx.Response(status, request=httpx.Request("POST", "https://example.org/v1")).raise_for_status()


def raised(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


CASES: list[tuple[str, Callable[[], None], Decimal, bool]] = [
    ("refused connection", refused, Decimal(0), False),
    ("refused request", lambda: answered(401), Decimal(0), False),
    ("too many requests", lambda: answered(429), Decimal(0), False),
    ("cut at the cap", raised(LengthFinishReasonError()), Decimal("0.00375"), False),
    ("server's failure", lambda: answered(500), RESERVED, True),
    ("time-out while reading", raised(httpx.ReadTimeout("slow")), RESERVED, True),
    ("unreadable answer", raised(ValueError("not JSON")), RESERVED, True),
    ("key of an answer that lacks it", raised(KeyError("choices")), RESERVED, True),
    ("interrupt", raised(KeyboardInterrupt()), RESERVED, True),
]


@pytest.mark.parametrize(("act", "usd", "estimated"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_an_exception_costs_what_may_have_been_billed(
    settings: Settings, act: Callable[[], None], usd: Decimal, estimated: bool
) -> None:
    with aegis_core.connect_sync(settings=settings) as governor:
        agent = governor.handshake("a")
        held: list[SyncGrant] = []
        with suppress(Exception, KeyboardInterrupt), agent.permit("Answer", **ASK) as grant:
            held.append(grant)
            act()
        receipt = held[0].receipt
        assert receipt is not None
        assert (receipt.charged_usd, receipt.estimated) == (usd, estimated)
        assert agent.budget().budgets[0].spent_usd == usd


async def ended(governor: Governor, act: Callable[[Grant], Any], on_error: OnError = "charge") -> Receipt:
    """The receipt of a block that `act` leaves by an error."""
    agent = await governor.handshake("a")
    held: list[Grant] = []
    with suppress(RuntimeError, InvalidRequestError):
        async with agent.permit("Answer", on_error=on_error, **ASK) as grant:
            held.append(grant)
            act(grant)
            raise RuntimeError("the block failed")
    receipt = held[0].receipt
    assert receipt is not None
    return receipt


async def test_what_was_said_before_it_counts(governor: Governor) -> None:
    assert (await ended(governor, lambda grant: grant.settle(cost_usd="0.002"))).charged_usd == Decimal("0.002")
    assert (await ended(governor, Grant.release)).charged_usd == 0
    receipt = await ended(governor, lambda grant: grant.settle(cost_usd="0.002"), "release")
    assert receipt.charged_usd == Decimal("0.002")


async def test_a_block_may_say_that_an_exception_means_nothing_was_spent(governor: Governor) -> None:
    receipt = await ended(governor, lambda _: None, "release")
    assert (receipt.state, receipt.charged_usd) == ("released", 0)
    agent = await governor.handshake("a")
    with pytest.raises(InvalidRequestError, match=r"on_error: must be one of 'charge', 'release'"):
        async with agent.permit("Answer", on_error="ignore", **ASK):  # type: ignore[arg-type]
            pytest.fail("the block ran")


async def test_a_settlement_that_was_refused_is_not_free(governor: Governor) -> None:
    """Its own error is one that is raised before anything is sent, and yet the call was made."""
    receipt = await ended(governor, lambda grant: grant.settle(cost_usd="three cents"))
    assert (receipt.charged_usd, receipt.estimated) == (RESERVED, True)


async def test_a_refusal_inside_gives_the_outer_grant_back(governor: Governor) -> None:
    agent = await governor.handshake("a")
    with pytest.raises(AegisDenied):
        async with agent.permit("Answer", **ASK) as outer, agent.permit("More", estimated_cost_usd=500):
            pytest.fail("the block ran")
    assert outer.receipt is not None
    assert outer.receipt.state == "released"


async def test_a_time_out_around_a_block_is_charged(governor: Governor) -> None:
    agent = await governor.handshake("a")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), agent.permit("Answer", **ASK) as grant:
            await asyncio.sleep(30)
    assert grant.receipt is not None
    assert (grant.receipt.charged_usd, grant.receipt.estimated) == (RESERVED, True)


async def test_a_cancelled_block_is_charged_even_when_it_is_cancelled_twice(governor: Governor) -> None:
    agent = await governor.handshake("a")
    held: list[Grant] = []
    entered = asyncio.Event()

    async def call() -> None:
        async with agent.permit("Answer", **ASK) as grant:
            held.append(grant)
            entered.set()
            await asyncio.sleep(30)

    task = asyncio.create_task(call())
    await entered.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(200):
        if held[0].receipt is not None:
            break
        await asyncio.sleep(0.01)
    assert held[0].receipt is not None
    assert (held[0].receipt.charged_usd, held[0].receipt.estimated) == (RESERVED, True)
    assert (await agent.budget()).budgets[0].spent_usd == RESERVED
