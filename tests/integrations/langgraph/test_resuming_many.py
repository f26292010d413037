"""Many threads: one that fails, or is slow, keeps no other one waiting, and is tried again by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from aegis_langgraph import ApprovalResumer
from aegis_langgraph.resume_lease import ResumeLease
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState

import aegis_core
from aegis_core import AegisDenied, ConfigurationError, Governor, Settings, connect_sync
from aegis_core.client.sync import SyncGovernor
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

from .test_resuming import START_WITH, Paying

pytestmark = pytest.mark.concurrent

PATIENCE = 60.0


@pytest.fixture
def operator(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as governor:
        governor.handshake("payer")
        governor.set_budget("agent", "payer", "day", 100)  # what waits for people holds at most half of a budget
        yield governor


class FailingSaver(InMemorySaver):
    """A checkpointer of which one method fails so many times, of one thread or of all."""

    def __init__(self) -> None:
        super().__init__()
        self.method, self.times, self.thread = "", 0, None

    def fail(self, method: str, times: int, thread: Any = None) -> None:
        self.method, self.times, self.thread = method, times, thread

    def _may(self, method: str, config: Any) -> None:
        if method == self.method and self.times > 0 and self.thread in {None, config["configurable"]["thread_id"]}:
            self.times -= 1
            raise sqlite3.OperationalError("disk I/O error, by postgres://bank:hunter2hunter2@db/threads")

    def get_tuple(self, config: Any) -> Any:
        self._may("get_tuple", config)
        return super().get_tuple(config)

    def put(self, config: Any, *more: Any, **options: Any) -> Any:
        self._may("put", config)
        return super().put(config, *more, **options)

    def put_writes(self, config: Any, *more: Any, **options: Any) -> Any:
        self._may("put_writes", config)
        return super().put_writes(config, *more, **options)


def config_of(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def approve(operator: SyncGovernor) -> None:
    for each in operator.approvals.list():
        operator.approvals.decide(each.approval_id, "approve", by="lea")


def said(paying: Paying, thread: str) -> str:
    return paying.graph.get_state(config_of(thread)).values["messages"][-1].text


def until(done: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def failures(operator: SyncGovernor) -> list[dict[str, Any]]:
    return [each.facts for each in operator.events() if each.kind == "thread_failed"]


@pytest.mark.parametrize("method", ["get_tuple", "put", "put_writes"])
def test_a_thread_whose_checkpointer_fails_is_tried_again(operator: SyncGovernor, method: str) -> None:
    """Whether before what was decided was taken in, or after it; it pays once, and operators hear of it once."""
    saver = FailingSaver()
    paying = Paying(operator.handshake("payer"), 9, checkpointer=saver)
    paying.graph.invoke(START_WITH, config_of("one"))
    approve(operator)
    saver.fail(method, 2)
    resumer, errors = ApprovalResumer(paying.graph, operator, name="r"), list[str]()

    def goes_on() -> bool:
        errors.extend(type(each.error).__name__ for each in resumer.run_once() if each.error)
        return said(paying, "one") == "Done." if not saver.times else False

    until(goes_on)
    assert (paying.paid, set(errors)) == ([9], {"OperationalError"})
    (told,) = failures(operator)
    assert told["thread"] == "one"
    assert told["problem"] == "OperationalError: disk I/O error, by postgres://[masked]@db/threads"


def test_a_thread_that_cannot_be_read_keeps_no_other_one_waiting(operator: SyncGovernor) -> None:
    saver = FailingSaver()
    paying = Paying(operator.handshake("payer"), 9, checkpointer=saver)
    for thread in ("broken", "sound"):
        paying.graph.invoke(START_WITH, config_of(thread))
    approve(operator)
    saver.fail("get_tuple", 10_000, "broken")
    ends = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ApprovalResumer(paying.graph, operator, name="r").run, until=ends.is_set, interval=0.1)
        until(lambda: said(paying, "sound") == "Done.")
        saver.fail("", 0)
        until(lambda: said(paying, "broken") == "Done.")
        ends.set()
        running.result(PATIENCE)
    assert paying.paid == [9, 9]


class Slow(Paying):
    """Of which the tool runs until it may end; counts how many run at once."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.may_end = {amount: threading.Event() for amount in range(20)}
        self.running, self.most = 0, 0
        self._counting = threading.Lock()
        super().__init__(*arguments, **options)

    def pay(self, amount: int) -> str:
        """Pay."""
        with self._counting:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.may_end[amount].wait(PATIENCE)
        with self._counting:
            self.running -= 1
        return super().pay(amount)


def pause(paying: Paying, *amounts: int) -> None:
    """One thread for each amount, which waits for a person."""
    for amount in amounts:
        paying.calls = [{"name": "pay", "args": {"amount": amount}, "id": f"call-{amount}"}]
        paying.graph.invoke(START_WITH, config_of(f"thread-{amount}"))


def test_a_slow_thread_keeps_no_other_one_waiting(operator: SyncGovernor) -> None:
    """Not even one that is decided after it was begun."""
    aegis = operator.handshake("payer")
    operator.set_budget("agent", "payer", "day", 100)
    slow = Slow(aegis)
    pause(slow, 11)
    approve(operator)
    ends = threading.Event()
    slow.may_end[12].set()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ApprovalResumer(slow.graph, operator, name="r").run, until=ends.is_set, interval=0.1)
        until(lambda: slow.running == 1)
        pause(slow, 12)
        approve(operator)
        until(lambda: slow.paid == [12])
        ends.set()
        slow.may_end[11].set()  # what was begun is carried on to its end
        running.result(PATIENCE)
    assert slow.paid == [12, 11]


def test_only_so_many_threads_are_carried_on_at_once(operator: SyncGovernor) -> None:
    operator.handshake("payer")
    operator.set_budget("agent", "payer", "day", 100)
    slow = Slow(operator.handshake("payer"))
    pause(slow, 6, 7, 8, 9, 10)
    approve(operator)
    resumer = ApprovalResumer(slow.graph, operator, name="r", at_once=2)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(resumer.run_once)
        until(lambda: slow.running == 2)
        for each in slow.may_end.values():
            each.set()
        assert len(running.result(PATIENCE)) == 5
    assert (slow.most, sorted(slow.paid)) == (2, [6, 7, 8, 9, 10])
    with pytest.raises(ConfigurationError, match="at_once= takes a whole number, at least 1"):
        ApprovalResumer(slow.graph, operator, name="r", at_once=0)


async def test_async_threads_are_carried_on_at_once(settings: Settings) -> None:
    """Each waits for the other one's tool."""
    async with aegis_core.connect(settings=settings) as governor:
        both = asyncio.Barrier(2)
        aegis = await governor.handshake("payer")
        await governor.set_budget("agent", "payer", "day", 100)

        class Meeting(Paying):
            async def pay(self, amount: int) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
                """Pay."""
                async with asyncio.timeout(PATIENCE):
                    await both.wait()
                return super().pay(amount)

        paying = Meeting(aegis, 9)
        for thread in ("a", "b"):
            await paying.graph.ainvoke(START_WITH, config_of(thread))
        for each in await governor.approvals.list():
            await governor.approvals.decide(each.approval_id, "approve", by="lea")
        resumed = await ApprovalResumer(paying.graph, governor, name="r").arun_once()
        assert [each.error for each in resumed] == [None, None]
        assert paying.paid == [9, 9]


def test_a_run_that_ends_by_a_refusal_is_not_tried_again(operator: SyncGovernor) -> None:
    """It would be refused again; and it is no failure, of which operators need to hear."""
    aegis, asked = operator.handshake("payer"), list[str]()

    class Refused(Paying):
        def _agent(self, state: MessagesState) -> Any:
            if state["messages"][-1].type == "tool":
                asked.append("again" if asked else "once")
                with aegis.permit("Sum up", estimated_cost_usd=1_000):
                    raise AssertionError
            return super()._agent(state)

    paying = Refused(aegis, 9)
    paying.graph.invoke(START_WITH, config_of("one"))
    approve(operator)
    resumer = ApprovalResumer(paying.graph, operator, name="r")
    (ended,) = resumer.run_once()
    assert isinstance(ended.error, AegisDenied)
    time.sleep(0.7)  # longer than the first pause after a failure
    assert resumer.run_once() == []
    assert (paying.paid, asked, failures(operator)) == ([9], ["once"], [])


async def test_a_failed_resumption_is_tried_after_pauses_that_grow(
    virtual: tuple[Governor, FakeClock, Store],
) -> None:
    """By the server's clock, whoever tries; so often at most; a holder that is silent has the whole lease."""
    governor, clock, _ = virtual
    agent = await governor.handshake("r")
    lease: Callable[[], ResumeLease] = partial(ResumeLease, agent.journal, "t", "here", 30)
    for pause in (0.5, 1.5, 4.5, 13.5, 40.5, 121.5, 364.5, 900, 900):
        claim = lease()
        assert await claim.take()
        await clock.advance(seconds=20)
        assert await claim.renew()
        await claim.end(failed=True)
        await clock.advance(seconds=pause - 0.1)
        assert not await lease().take()
        await clock.advance(seconds=0.2)
    silent = lease()
    assert await silent.take()
    await clock.set(clock.now + timedelta(seconds=29))
    assert not await lease().take()
    await clock.advance(seconds=2)
    last = lease()
    assert await last.take()
    await last.end(failed=True)
    await clock.advance(hours=20)
    assert not await lease().take()
