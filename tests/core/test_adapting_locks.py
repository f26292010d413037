"""The lock of a tool call: what may be one, when it is taken, and that it never outlives its call."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

import aegis_core
from aegis_core import AegisDenied, ConfigurationError, Settings
from aegis_core.adapting import CallGovernor, Clearance, ToolCall, ToolLock, ToolReview, current_fence
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.errors import AuthError, InvalidRequestError, LockLostError

pytestmark = pytest.mark.concurrent

WALLET = "wallet_main"
PAY = ToolCall("pay", {"amount": 7}, call_id="c", message_id="m", cost_usd=1)


@pytest.fixture
def plain(settings: Settings) -> Iterator[SyncGovernor]:
    with aegis_core.connect_sync(settings=settings) as governor:
        yield governor


@pytest.fixture
def agent(plain: SyncGovernor) -> SyncGovernedAgent:
    return plain.handshake("a")


def governed(agent: SyncGovernedAgent, locks: Any, **options: Any) -> CallGovernor:
    return CallGovernor(agent, framework="custom", locks=locks, **options)


def held(agent: SyncGovernedAgent) -> Decimal:
    return agent.budget().budgets[0].reserved_usd


def eventually(done: Callable[[], bool]) -> bool:
    until = time.monotonic() + 30
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("locks", "kind", "words"),
    [
        ("wallet", ConfigurationError, "locks= takes .* This is str"),
        ({"pay": 7}, ConfigurationError, "This is int"),
        ({"pay": "no such\nname"}, InvalidRequestError, "resource"),
        ({"pay": ToolLock(WALLET, wait="soon")}, InvalidRequestError, "is no duration"),
    ],
)
def test_what_is_no_lock_is_said_at_once(
    agent: SyncGovernedAgent, locks: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        governed(agent, locks)


def test_a_function_that_answers_no_lock_stops_the_call_before_anything_is_held(agent: SyncGovernedAgent) -> None:
    with pytest.raises(ConfigurationError, match="This is int"):
        governed(agent, lambda tool, arguments: arguments["amount"]).begin(PAY)
    assert held(agent) == 0


def test_a_pickled_governor_takes_the_same_locks(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    original = governed(agent, {"pay": ToolLock(WALLET, ttl="5s")})
    calls: CallGovernor = pickle.loads(pickle.dumps(original))
    reservation = calls.begin(PAY)
    assert [lock.resource for lock in plain.locks()] == [WALLET]
    reservation.settle()
    assert plain.locks() == ()


def test_a_lock_above_ones_priority_holds_nothing(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    with pytest.raises(AuthError):
        governed(agent, {"pay": ToolLock(WALLET, priority=10)}).begin(PAY)
    assert eventually(lambda: held(agent) == 0)
    assert plain.locks() == ()


async def test_a_caller_cancelled_while_it_waits_leaves_nothing_held(plain: SyncGovernor) -> None:
    agent = plain.handshake("a")
    calls = governed(agent, {"pay": WALLET})
    with plain.handshake("other").lock(WALLET):
        waiting = asyncio.create_task(calls.abegin(PAY))
        assert await asyncio.to_thread(eventually, lambda: bool(plain.locks(WALLET)[0].waiters))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert eventually(lambda: held(agent) == 0 and not plain.locks(WALLET)[0].waiters)
    assert plain.locks() == ()


@pytest.mark.leaves("grants")
async def test_a_caller_cancelled_before_it_hears_that_it_may_begin_leaves_nothing_held(plain: SyncGovernor) -> None:
    """Nor is the call taken for one that was begun: whoever comes next runs it."""
    agent = plain.handshake("a")
    review = ToolReview(governed(agent, {"pay": WALLET}))
    (clearance,) = (await review.aopen([PAY], durable=True)).clearances
    begun: list[str] = []
    start = review.calls.journal

    async def journal(act: Any, *args: Any) -> Any:
        entry = await start(act, *args)
        begun.append(act)
        return entry

    review.calls.journal = journal  # type: ignore[method-assign]
    task = asyncio.create_task(review.abegin(clearance, journal=True))
    await asyncio.sleep(0)
    assert eventually(lambda: "start" in begun)  # while this loop hears nothing
    assert len(plain.locks()) == 1  # answered by the loop of the bridge, which so has ended the work
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert eventually(lambda: plain.locks() == () and held(agent) == 0)
    (clearance,) = (await review.aopen([PAY], durable=True)).clearances
    assert clearance.state == "granted"


@pytest.mark.leaves("grants")
def test_a_lock_ends_with_its_grant_at_the_latest(settings: Settings) -> None:
    short = settings.model_copy(update={"grant_seconds": 3})
    with aegis_core.connect_sync(settings=short) as plain:
        reservation = governed(plain.handshake("a"), {"pay": WALLET}).begin(PAY)
        with reservation.inside():
            assert current_fence() is not None
            assert eventually(lambda: reservation.lease is not None and reservation.lease.lease.lost)
            assert eventually(lambda: plain.locks(WALLET) == ()), "its holder counts the way of the answer as gone"
            with pytest.raises(LockLostError):
                current_fence()
        assert current_fence() is None


def test_a_lock_that_was_taken_away_is_known_to_the_tool_and_logged(
    plain: SyncGovernor, agent: SyncGovernedAgent, heard: pytest.LogCaptureFixture
) -> None:
    reservation = governed(agent, {"pay": WALLET}).begin(PAY)
    with reservation.inside():
        plain._portal.run(plain.inner.port.locks.force_release(WALLET))
        assert eventually(lambda: reservation.lease is not None and reservation.lease.lease.lost)
        with pytest.raises(LockLostError):
            current_fence()
    with heard.at_level(logging.WARNING, "aegis.adapting"):
        receipt = reservation.settle()
    assert receipt is not None
    assert receipt.charged_usd == 1, "the tool has run"
    assert "wallet_main was not held to the end of its tool" in heard.text


def test_a_journalled_call_takes_its_lock_before_it_is_written_down(
    plain: SyncGovernor, agent: SyncGovernedAgent
) -> None:
    review = ToolReview(governed(agent, {"pay": ToolLock(WALLET, wait=0)}))
    (clearance,) = review.open([PAY], durable=True).clearances
    assert plain.locks() == ()
    with plain.handshake("other").lock(WALLET):
        refused = review.begin(clearance, journal=True)
    assert isinstance(refused, Clearance)
    assert (refused.state, refused.verdict.code) == ("refused", "lock_timeout")
    assert held(agent) == 0
    (again,) = review.open([PAY], durable=True).clearances
    work = review.begin(again, journal=True)
    assert not isinstance(work, Clearance), "it was never started before"
    assert [lock.resource for lock in plain.locks()] == [WALLET]
    work.finish("paid")
    assert plain.locks() == ()


@pytest.mark.leaves("grants")
def test_a_call_that_was_started_before_holds_no_lock(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    calls = governed(agent, {"pay": WALLET})
    (clearance,) = ToolReview(calls).open([PAY], durable=True).clearances
    calls.start(PAY, calls.new_runner())
    work = ToolReview(calls).begin(clearance, journal=True)
    assert isinstance(work, Clearance)
    assert work.state == "unknown"
    assert plain.locks() == ()


def test_a_refusal_for_a_lock_says_what_to_do(plain: SyncGovernor, agent: SyncGovernedAgent) -> None:
    calls = governed(agent, {"pay": ToolLock(WALLET, wait="50ms")})
    with plain.handshake("other").lock(WALLET):
        found = [_denied(calls) for _ in range(3)]
    assert found[0].code == "lock_timeout"
    assert found[0].message == (
        "Aegis refused pay(amount=7): the lock wallet_main was not free within 0.05 s. Do something else before you "
        "call pay again, finish with what you have, or ask the user."
    )
    assert [denied.final for denied in found] == [False, False, True]


def _denied(calls: CallGovernor) -> AegisDenied:
    with pytest.raises(AegisDenied) as caught:
        calls.begin(ToolCall("pay", {"amount": 7}, cost_usd=1))
    return caught.value
