"""Real processes die while people are asked: every answer is honoured once, every deadline holds, no money is lost."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from warm import Started, Warm

from aegis_core import Governor, Settings, connect
from aegis_core.client.agent import GovernedAgent
from aegis_core.protocol.errors import ConflictError
from aegis_core.protocol.events import Event
from aegis_core.store.embedded import join_sync, server_status
from aegis_core.testing import private_settings
from tests.serving import free_port

pytestmark = pytest.mark.concurrent

ASKED = 200
ROOMY = {
    "agent_day_usd": 100_000, "tenant_day_usd": 1_000_000, "max_open_approvals": 1_000, "approval_seconds": 300,
}  # fmt: skip

WORKER = """
import asyncio, sys
from decimal import Decimal
from aegis_core import connect
from aegis_core.protocol.errors import AegisError
from aegis_core.testing import private_settings

async def pay(agent, number):
    request = dict(resource_type="api_call", estimated_cost_usd=Decimal(6_000_000_000 + number).scaleb(-9))
    while True:  # the wait survives its process: who asks again joins the same question
        try:
            verdict = await agent.request(f"Pay invoice {number}", request_id=f"order-{number}", wait=20, **request)
            if verdict.granted:
                await agent.settle(verdict.grant_id, cost_usd=Decimal(5_000_000_000 + 7 * number).scaleb(-9))
                return
            if verdict.status != "PENDING":
                return
        except (AegisError, OSError):
            await asyncio.sleep(0.2)

async def main(url, tenant, asked):
    local = {} if url.startswith("http") else dict(agent_day_usd=100_000, tenant_day_usd=1_000_000)
    timings = dict(max_open_approvals=1_000, approval_seconds=300)
    settings = private_settings(url=url, tenant=tenant, **local, **timings)
    async with connect(settings=settings) as governor:
        agent = await governor.handshake("payer")
        await asyncio.gather(*(pay(agent, number) for number in range(int(asked))))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def crowded(tenant: str) -> Iterator[Settings]:
    """A server of its own."""
    handle = join_sync(None, throwaway=True, timeout=60)
    yield private_settings(url=handle.url, tenant=tenant, **ROOMY)
    handle.leave_sync()


@contextmanager
def ended(*processes: Started) -> Iterator[list[Started]]:
    """Processes, and those started in their place, are gone at the end."""
    running = list(processes)
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def work(warm: Warm, url: str, tenant: str) -> Started:
    return warm.start(["-c", WORKER, url, tenant, str(ASKED)], Path.cwd(), os.environ)


def serve(warm: Warm, settings: Settings, port: int) -> Started:
    """The shipped server, and the moment when it answers."""
    environment = {
        **os.environ, "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant, "AEGIS_AGENT_DAY_USD": "100000",
        "AEGIS_TENANT_DAY_USD": "1000000", "AEGIS_MAX_OPEN_APPROVALS": "1000", "AEGIS_APPROVAL_SECONDS": "300",
        "AEGIS_OPERATOR_SECRET": "aegis_op_of-the-tests-and-of-nobody-else",
    }  # fmt: skip
    process = warm.start(["serve", "--port", str(port)], Path.cwd(), environment)
    until = time.monotonic() + 120
    while True:
        with suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code < 500:
                return process
        assert process.poll() is None, "the server did not start"
        assert time.monotonic() < until, "the server does not answer"
        time.sleep(0.1)


def kill(process: Started) -> None:
    process.kill()
    process.wait()


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 150) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < end, what
        await asyncio.sleep(0.1)


async def all_events(governor: Governor) -> list[Event]:
    found: list[Event] = []
    while page := await governor.events(after=found[-1].id if found else "0", limit=5_000):
        found += page
    return found


async def waiting(governor: Governor) -> dict[str, str]:
    """Open approvals by the request that each is about."""
    found = await governor.approvals.list(limit=1_000)
    return {each.request_id: each.approval_id for each in found}


async def decide_around_a_death(governor: Governor, die: Callable[[], None], back: Callable[[], None]) -> Counter[str]:
    """Decide a third before, a third while and a third after a process is killed; answers how often each word."""

    async def all_ask() -> bool:
        return len(await waiting(governor)) == ASKED

    await until(all_ask, "not everybody asks")
    order = sorted((await waiting(governor)).items())
    random.Random(7).shuffle(order)
    said: Counter[str] = Counter()

    async def decide(approvals: list[tuple[str, str]]) -> None:
        for request, approval in approvals:
            word = "reject" if int(request.removeprefix("order-")) % 4 == 0 else "approve"
            await governor.approvals.decide(approval, word, by="ada")  # type: ignore[arg-type]
            said[word] += 1

    await decide(order[:60])
    during = asyncio.create_task(decide(order[60:90]))
    await asyncio.sleep(0)
    await asyncio.to_thread(die)
    await during
    await decide(order[90:140])
    await asyncio.to_thread(back)
    await decide(order[140:])
    return said


async def check_the_books(governor: Governor, said: Counter[str]) -> None:
    """Each approval ran once and was charged what it cost; each rejection cost nothing; nothing else happened."""

    async def all_done() -> bool:
        budget = await governor.budget("payer")
        return budget.budgets[0].reserved_usd == 0 and not await waiting(governor)

    await until(all_done, "somebody was not woken")
    told = Counter(event.kind for event in await all_events(governor))
    assert (told["pending"], told["approved"], told["declined"]) == (ASKED, said["approve"], said["reject"])
    assert told["settled"] == said["approve"]
    assert not told.keys() & {"expired", "released", "timed_out", "overrun", "granted"}
    settled = Counter(event.facts["request_id"] for event in await all_events(governor) if event.kind == "settled")
    assert set(settled.values()) == {1}
    nanos = sum(5_000_000_000 + 7 * number for number in range(ASKED) if number % 4)
    for budget in (await governor.budget("payer")).budgets:
        assert (budget.reserved_usd, budget.spent_usd) == (0, Decimal(nanos).scaleb(-9))


@pytest.mark.timeout(600)
async def test_a_killed_process_that_waits_for_200_approvals_loses_none(warm: Warm, crowded: Settings) -> None:
    async with connect(settings=crowded) as governor:
        with ended(work(warm, crowded.url, crowded.tenant)) as running:
            said = await decide_around_a_death(
                governor,
                die=lambda: kill(running[0]),
                back=lambda: running.append(work(warm, crowded.url, crowded.tenant)),
            )
            await check_the_books(governor, said)
            assert running[-1].wait(120) == 0


@pytest.mark.timeout(600)
async def test_a_killed_server_before_200_waiting_agents_loses_none(warm: Warm, crowded: Settings) -> None:
    """Over HTTP: the agents live on, and join their questions at the server that takes the place of the dead one."""
    port = free_port()
    async with connect(settings=crowded) as governor:
        first = await asyncio.to_thread(serve, warm, crowded, port)
        with ended(first) as running:
            answer = await asyncio.to_thread(
                httpx.put,
                f"http://127.0.0.1:{port}/api/v1/profiles", json={"profiles": [{"settlement": "trusted"}]},
                headers={"Authorization": "Bearer aegis_op_of-the-tests-and-of-nobody-else"}, trust_env=False,
                timeout=30,
            )  # fmt: skip
            assert answer.status_code == 200
            running.append(work(warm, f"http://127.0.0.1:{port}", crowded.tenant))
            said = await decide_around_a_death(
                governor, die=lambda: kill(first), back=lambda: running.append(serve(warm, crowded, port))
            )
            await check_the_books(governor, said)
            assert running[1].wait(120) == 0


SHORT = 3
"""Seconds that a question waits: long enough to look at it before that, on a machine that has other work, too."""


def stopped(folder: Path) -> bool:
    return not server_status(folder).get("running")


async def button(governor: Governor, _: GovernedAgent, approval: str) -> str:
    with pytest.raises(ConflictError) as late:
        await governor.approvals.decide(approval, "approve", by="ada")
    return late.value.code


async def waiter(_: Governor, agent: GovernedAgent, __: str) -> str:
    verdict = await agent.request("Pay", request_id="one", resource_type="api_call", estimated_cost_usd=7, wait=60)
    return verdict.code


async def list_of_open(governor: Governor, _: GovernedAgent, approval: str) -> str:
    assert await governor.approvals.list() == ()
    return (await governor.approvals.get(approval)).status


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("look", "told"), [(button, "timed_out"), (waiter, "approval_timed_out"), (list_of_open, "timed_out")]
)
async def test_a_deadline_holds_although_every_process_was_down(
    look: Callable[[Governor, GovernedAgent, str], Awaitable[str]], told: str, tmp_path: Path
) -> None:
    settings = private_settings(data_dir=tmp_path / "data", approval_seconds=SHORT, tenant_day_usd=20)
    async with connect(settings=settings) as governor:
        agent = await governor.handshake("payer")
        verdict = await agent.request("Pay", request_id="one", resource_type="api_call", estimated_cost_usd=7)
        assert verdict.status == "PENDING"
        assert (await agent.budget()).budgets[0].reserved_usd == Decimal(7)
        deadline = time.monotonic() + SHORT
    end = time.monotonic() + 60
    while not await asyncio.to_thread(stopped, tmp_path / "data"):
        assert time.monotonic() < end, "the server stays although nobody uses it"
        await asyncio.sleep(0.05)
    await asyncio.sleep(max(0, deadline - time.monotonic()) + 0.1)
    async with connect(settings=settings) as governor:
        again = await governor.handshake("payer")
        assert await look(governor, again, verdict.escalation_id or "") == told
        for budget in (await again.budget()).budgets:
            assert (budget.reserved_usd, budget.spent_usd) == (0, 0)
        kinds = [event.kind for event in await governor.latest_events(50)]
        assert kinds.count("timed_out") == 1
