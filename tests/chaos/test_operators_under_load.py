"""What an operator puts in force holds for every process at its very next request, however busy they are."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from warm import Warm

from aegis_core import Governor, Settings, connect
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy import load_policy
from aegis_core.protocol.events import Event
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings

pytestmark = pytest.mark.concurrent

WORKER = """
import asyncio, os, sys, time
os.nice(10)  # busy with what nobody else needs, for other tests run beside this one
from aegis_core import connect
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings

async def main(url, tenant, name, journal):
    limits = dict(agent_day_usd=1_000_000, tenant_day_usd=8_000_000, store_timeout_seconds=60)
    settings = private_settings(url=url, tenant=tenant, **limits)
    async with connect(settings=settings) as governor:
        agent = await governor.handshake(name)
        with open(journal, "w", buffering=1) as notes:
            async def work():
                while True:
                    began = time.monotonic_ns()
                    verdict = await agent.request("Work", estimated_cost_usd="0.000001")
                    notes.write(f"{began} {time.monotonic_ns()} {verdict.status} {verdict.code}\\n")
                    if verdict.granted:
                        await agent.release(verdict.grant_id)
            await asyncio.gather(*(work() for _ in range(4)))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def crowded(tenant: str) -> Iterator[Settings]:
    """A server of its own: tens of thousands of records would slow whatever walks the keys of a shared one."""
    handle = join_sync(None, throwaway=True, timeout=60)
    yield private_settings(url=handle.url, tenant=tenant)
    handle.leave_sync()


@contextmanager
def busy(warm: Warm, folder: Path, url: str, agents: list[tuple[str, str]]) -> Generator[list[Path]]:
    """A process for each (tenant, agent), each with four tasks that ask without a pause; the journals they keep."""
    journals = [folder / f"{tenant}-{agent}.txt" for tenant, agent in agents]
    processes = [
        warm.start(["-c", WORKER, url, tenant, agent, str(journal)], folder, os.environ)
        for (tenant, agent), journal in zip(agents, journals, strict=True)
    ]
    try:
        until = time.monotonic() + 150
        while any(not path.exists() or path.stat().st_size < 2_000 for path in journals):
            assert all(process.poll() is None for process in processes)
            assert time.monotonic() < until, "the workers did not come up"
            time.sleep(0.05)
        yield journals
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for_more(journals: list[Path]) -> None:
    """Wait until every process was answered some thirty requests that it sent after this call began."""
    sizes = [path.stat().st_size for path in journals]
    until = time.monotonic() + 60
    while any(path.stat().st_size < size + 2_000 for path, size in zip(journals, sizes, strict=True)):
        assert time.monotonic() < until, "the workers went silent"
        time.sleep(0.02)


def answers(journal: Path) -> list[tuple[int, int, str, str]]:
    """When each request began and was answered (ns of the machine's clock), its status and its code."""
    lines = [line.split() for line in journal.read_text().split("\n")[:-1]]
    return [(int(began), int(ended), status, code) for began, ended, status, code in lines]


def roomy(settings: Settings) -> Settings:
    limits = {"agent_day_usd": 1_000_000, "tenant_day_usd": 8_000_000, "events_kept": 10_000_000}
    return private_settings(url=settings.url, tenant=settings.tenant, store_timeout_seconds=60, **limits)


async def all_events(governor: Governor) -> list[Event]:
    found: list[Event] = []
    while page := await governor.events(after=found[-1].id if found else "0", limit=5_000):
        found += page
    return found


@pytest.mark.timeout(420)
@pytest.mark.parametrize("turns", [4, pytest.param(10, marks=pytest.mark.deep)])
async def test_no_request_is_decided_on_a_policy_that_was_replaced(
    warm: Warm, crowded: Settings, tmp_path: Path, turns: int
) -> None:
    rules = '{"schema": 1, "rules": [{"name": "stop", "type": "blocked_intent", "phrases": ["work"]}]}'
    closed, free = load_policy(rules), load_policy('{"schema": 1, "rules": []}')
    versions = {1: "GRANTED"}
    async with connect(settings=roomy(crowded)) as governor:
        port = governor.port
        assert isinstance(port, ResourceGovernor)
        agents = [(crowded.tenant, "left"), (crowded.tenant, "right")]
        with busy(warm, tmp_path, crowded.url, agents) as journals:
            periods: list[list[int]] = []  # from when a version was in force to when the next was sent
            for number in range(turns):
                policy, answer = (free, "GRANTED") if number % 2 else (closed, "REJECTED")
                versions[await port.publish_policy(policy, author="test")] = answer
                began = time.monotonic_ns()
                await asyncio.to_thread(wait_for_more, journals)
                periods.append([began, time.monotonic_ns()])
        told = await all_events(governor)

    present, decided = 1, Counter[tuple[int, str | None]]()
    for event in told:
        if event.kind == "policy_published":
            present = event.facts["policy_version"]
        elif event.kind in {"granted", "rejected"}:
            assert event.facts["policy_version"] == present, "decided on a version that was not in force"
            assert event.kind.upper() == versions[present]
            decided[present, event.agent_id] += 1
    assert len(versions) == turns + 1
    assert {agent for version, agent in decided if version > 1} == {"left", "right"}
    assert all(decided[version, agent] for version in versions if version > 1 for agent in ("left", "right"))

    for journal in journals:
        for version, (start, end) in enumerate(periods, 2):
            seen = {status for began, ended, status, _ in answers(journal) if start < began and ended < end}
            assert seen == {versions[version]}


@pytest.mark.timeout(420)
@pytest.mark.parametrize("each", [1, pytest.param(4, marks=pytest.mark.deep)])
def test_halt_all_stops_busy_processes_within_one_request_each(
    warm: Warm, crowded: Settings, tmp_path: Path, each: int
) -> None:
    other = f"{crowded.tenant}-b"
    agents = [(tenant, f"agent-{number}") for tenant in (crowded.tenant, other) for number in range(each)]
    environment = {**os.environ, "AEGIS_URL": crowded.url, "AEGIS_TENANT": crowded.tenant}
    with busy(warm, tmp_path, crowded.url, agents) as journals:
        done = warm.run(["halt", "--all", "--json"], tmp_path, environment)
        halted = time.monotonic_ns()
        assert done.returncode == 0, done.stderr
        wait_for_more(journals)
    assert isinstance(json.loads(done.stdout), list)
    for journal in journals:
        later = {answer[2:] for answer in answers(journal) if answer[0] > halted}
        assert later == {("REJECTED", "tenant_halted")}
        assert ("GRANTED", "ok") in {answer[2:] for answer in answers(journal)}
