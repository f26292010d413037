"""A process forks while it is connected: its child connects anew, and what the parent holds stays the parent's."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from plain import plain
from pydantic import SecretStr
from serving import OPERATOR, serving

import aegis_core
from aegis_core import Settings
from aegis_core.adapting import CallGovernor, ToolCall, current_fence
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.testing.forking import LONGEST, Child, forked

pytestmark = pytest.mark.concurrent

ASKED: Any = {"resource_type": "compute", "estimated_cost_usd": "0.03"}
RULES = {"schema": 1, "rules": [{"name": "ask", "type": "max_cost", "limit_usd": 1, "effect": "escalate"}]}
PAY = ToolCall("pay", {"amount": 3})


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(RULES))
    return file


@pytest.fixture
def settings(settings: Settings, rules: Path) -> Settings:
    return settings.model_copy(update={"policy_file": rules, "operator_secret": SecretStr(OPERATOR)})


@pytest.fixture
def governor(settings: Settings) -> Iterator[SyncGovernor]:
    with aegis_core.connect_sync(settings=settings) as connected:
        yield connected


@pytest.fixture
def agent(governor: SyncGovernor) -> SyncGovernedAgent:
    return governor.handshake("forking")


def spend(agent: SyncGovernedAgent) -> str:
    with agent.permit("Count words", **ASKED) as grant:
        grant.settle(cost_usd="0.02")
    assert grant.receipt is not None
    return f"{grant.receipt.charged_usd:.2f}"


def spent(agent: SyncGovernedAgent) -> Decimal:
    return agent.budget().budgets[0].spent_usd


def until(done: Callable[[], object]) -> None:
    end = time.monotonic() + LONGEST
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_child_asks_by_everything_that_it_inherited(governor: SyncGovernor, agent: SyncGovernedAgent) -> None:
    """Governor, agent, approvals and an unentered block, each got hold of before the fork."""
    approvals, block = governor.approvals, agent.lock("wallet")

    def everything() -> object:
        with block as lease:
            fence = lease.fence
        mine = governor.handshake("child")
        names = [each.agent_id for each in governor.agents()]
        return spend(agent), spend(mine), len(approvals.list()), fence > 0, names

    assert forked(everything) == "('0.02', '0.02', 0, True, ['child', 'forking'])"
    assert spend(agent) == "0.02"
    assert spent(agent) == Decimal("0.04")


def test_a_child_of_a_child_asks(agent: SyncGovernedAgent) -> None:
    """Whether its parent has asked before, or never did."""
    assert forked(lambda: (spend(agent), forked(lambda: spend(agent)), spend(agent))) == "('0.02', '0.02', '0.02')"
    assert forked(lambda: forked(lambda: spend(agent))) == "0.02"
    assert spent(agent) == Decimal("0.08")


def test_threads_of_a_child_share_one_connection(agent: SyncGovernedAgent) -> None:
    """However many of them are the first to ask."""

    def ask_at_once() -> object:
        said: list[str] = []
        threads = [threading.Thread(target=lambda: said.append(spend(agent))) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return said == ["0.02"] * 6, [each.name for each in threading.enumerate()].count("aegis")

    assert forked(ask_at_once) == "(True, 1)"


def test_children_and_their_parent_ask_at_once(agent: SyncGovernedAgent) -> None:
    """No answer reaches another than who asked, and the money is counted once for each."""
    children = [Child(lambda: [spend(agent) for _ in range(8)].count("0.02")) for _ in range(3)]
    assert [spend(agent) for _ in range(8)] == ["0.02"] * 8
    assert [child.says() for child in children] == ["8"] * 3
    assert spent(agent) == Decimal("0.64")


class LeavingError(Exception):
    """The way out of a child."""


def test_a_child_that_leaves_the_blocks_of_its_parent_ends_nothing(settings: Settings) -> None:
    """It unwinds through the connection, a grant, a lock and a held tool call; all of them are still the parent's."""
    me, code = os.getpid(), 1
    try:
        with aegis_core.connect_sync(settings=settings) as governor:
            agent = governor.handshake("forking")
            calls = CallGovernor(agent, framework="custom", costs={"pay": "0.5"}, locks={"pay": "till"})
            with agent.permit("Count words", **ASKED) as grant, agent.lock("wallet") as lease:
                held = calls.begin(PAY)
                try:
                    with held.inside(), warnings.catch_warnings():
                        warnings.simplefilter("ignore", DeprecationWarning)
                        if not (child := os.fork()):
                            signal.signal(signal.SIGALRM, signal.SIG_DFL)
                            signal.alarm(LONGEST)
                            raise LeavingError
                        assert os.waitpid(child, 0)[1] == 7 << 8
                        assert current_fence() == lease.fence + 1
                except BaseException as error:
                    held.fail(error)
                    raise
                lease.renew()
                assert [each.resource for each in governor.locks()] == ["till", "wallet"]
                assert agent.budget().budgets[0].reserved_usd == Decimal("0.53")
                assert held.settle() is not None
                grant.settle(cost_usd="0.01")
            assert grant.receipt is not None
            assert spent(agent) == Decimal("0.51")
    except LeavingError:
        code = 7
    finally:
        if os.getpid() != me:
            os._exit(code)


def test_a_child_is_told_whose_grant_and_lease_these_are(agent: SyncGovernedAgent) -> None:
    """It holds neither; of a lease it would not even hear that it was lost."""
    with agent.permit("Count words", **ASKED) as grant, agent.lock("wallet") as lease:
        for use in (lambda: grant.settle(cost_usd=0), grant.release, lambda: grant.extend(5)):
            assert f"This grant is that of process {os.getpid()}" in forked(use)
        for touch in (lease.check, lease.renew, lambda: lease.fence, current_fence):
            assert f"LockLostError: The lease of wallet is that of process {os.getpid()}" in forked(touch)

        def enters() -> object:
            with agent.lock("wallet", token=lease.token) as same:
                return same.fence == 1

        assert forked(enters) == "True"
        lease.renew()


def test_a_child_takes_no_lock_within_those_of_its_parent(agent: SyncGovernedAgent) -> None:
    """What the parent's block holds does not let the child in, nor does the child's own lock."""

    def tries() -> object:
        with agent.lock("till"), agent.lock("wallet", wait=0):
            return "in"

    with agent.lock("wallet"):
        assert forked(tries).startswith("LockTimeoutError: wallet was not free")


def test_a_waiter_of_the_parent_is_answered_beside_its_children(
    governor: SyncGovernor, agent: SyncGovernedAgent
) -> None:
    """The parent waits for a person and for a lock while children come, ask and end."""
    calls = CallGovernor(agent, framework="custom", costs={"pay": 2})
    paid: list[object] = []

    def pay() -> None:
        paid.append(calls.begin(PAY).settle())

    def enter() -> None:
        with agent.lock("wallet") as lease:
            paid.append(lease.fence)

    waiting = [threading.Thread(target=pay), threading.Thread(target=enter)]
    with agent.lock("wallet"):
        for each in waiting:
            each.start()
        until(lambda: governor.approvals.list() and governor.locks()[0].queued)
        assert forked(lambda: spend(agent)) == "0.02"

        def decides() -> object:
            return governor.approvals.decide(governor.approvals.list()[0].approval_id, "approve", by="ada").status

        assert forked(decides) == "approved"
        waiting[0].join(LONGEST)
    waiting[1].join(LONGEST)
    assert len(paid) == 2
    assert spent(agent) == Decimal("2.02")


def test_an_adapter_governs_in_a_child(agent: SyncGovernedAgent) -> None:
    """From plain code and from a loop of the child; its refusals are refusals."""
    calls = CallGovernor(agent, framework="custom", costs={"pay": "0.5"}, approval_seconds=0)

    async def asks() -> object:
        held = await calls.abegin(PAY)
        receipt = await held.asettle()
        return receipt and float(receipt.charged_usd)

    def both() -> object:
        receipt = calls.begin(PAY).settle()
        return receipt and float(receipt.charged_usd), asyncio.run(asks())

    assert forked(both) == "(0.5, 0.5)"
    dear = CallGovernor(agent, framework="custom", costs={"pay": 2}, approval_seconds=0)
    assert forked(lambda: dear.begin(PAY)).startswith("AegisDenied: Aegis refused pay(amount=3): nobody approved it")


async def test_a_child_of_asynchronous_code_connects_anew_or_is_told(settings: Settings) -> None:
    """Adapters connect anew. Who awaits the inherited agent is told at once what to do, in whichever loop."""
    async with aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("forking")
        calls, approvals = CallGovernor(agent, framework="custom", costs={"pay": "0.5"}), governor.approvals

        async def awaits() -> object:
            return await agent.request("Count words", **ASKED)

        async def lists() -> object:
            return await approvals.list()

        assert forked(lambda: asyncio.run(awaits())).startswith(
            "ConfigurationError: This connection is that of process"
        )
        assert forked(lambda: asyncio.run(lists())).startswith("ConfigurationError: This connection is that of process")
        assert forked(lambda: calls.begin(PAY).settle() is not None) == "True"
        for _ in range(5):  # the parent's own connection answers the parent
            async with agent.permit("Count words", **ASKED) as grant:
                grant.settle(cost_usd=0)
        assert (await agent.budget()).budgets[0].spent_usd == Decimal("0.5")


def test_a_child_connects_over_http(settings: Settings) -> None:
    """With the credential of its parent, on connections of its own."""
    with (
        serving(settings) as url,
        aegis_core.connect_sync(url, token=OPERATOR, settings=settings) as governor,
    ):
        agent = governor.handshake("forking")
        children = [Child(lambda: [spend(agent) for _ in range(4)].count("0.03")) for _ in range(2)]
        assert [spend(agent) for _ in range(4)] == ["0.03"] * 4
        assert [child.says() for child in children] == ["4", "4"]


def test_a_child_leaves_the_rules_in_force(
    settings: Settings, governor: SyncGovernor, agent: SyncGovernedAgent
) -> None:
    """The file was published when its parent connected; what an operator has changed since is not undone."""

    async def publish() -> int:
        port: Any = governor.inner.port
        return await port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": []})), author="ada")

    governor._portal.run(publish())
    asked: Any = {"resource_type": "compute", "estimated_cost_usd": 2, "request_id": "two"}
    assert forked(lambda: agent.request("Buy", **asked).status) == "GRANTED"
    agent.release(agent.request("Buy", **asked).grant_id or "")


@pytest.mark.leaves("leases")
def test_the_death_of_a_parent_is_seen_beside_a_living_child(settings: Settings, server_url: str) -> None:
    """Its subscription ends with it: else the scripts would hand locks to a process that is no more."""
    program = """
import os, sys, time
import aegis_core
from aegis_core.testing import private_settings
with aegis_core.connect_sync(settings=private_settings(url=sys.argv[1], tenant=sys.argv[2])) as governor:
    with governor.handshake("parent").lock("wallet"):
        if os.fork():
            time.sleep(60)
        print(os.getpid(), flush=True)
        time.sleep(60)
"""
    server = plain(server_url)

    def subscribed() -> int:
        return len(server.pubsub_channels(f"ae:{{{settings.tenant}}}:i:*"))

    arguments = [sys.executable, "-W", "ignore", "-c", program, server_url, settings.tenant]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            until(lambda: subscribed() == 1)
            parent.kill()
            until(lambda: subscribed() == 0)
        finally:
            os.kill(child, signal.SIGKILL)
    server.close()


def test_a_pool_of_processes_asks(agent: SyncGovernedAgent) -> None:
    """Of `multiprocessing`, which forks on Linux before Python 3.14 unless it is told otherwise."""
    _Pooled.agent = agent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(3) as pool:
            said = pool.map(_pooled, range(6))
    assert said == ["0.02"] * 6
    assert spent(agent) == Decimal("0.12")


class _Pooled:
    agent: SyncGovernedAgent


def _pooled(_: int) -> str:
    return spend(_Pooled.agent)


def test_a_connection_that_nobody_closes_keeps_no_process_alive(settings: Settings) -> None:
    """As of a module that connects when it is loaded: neither the process nor its children hang when they end."""
    program = """
import os, sys
from contextlib import ExitStack
import aegis_core
from aegis_core.testing import private_settings
connected = ExitStack()
governor = connected.enter_context(aegis_core.connect_sync(settings=private_settings(url=sys.argv[1], tenant=sys.argv[2])))
agent = governor.handshake("forking")
for uses in (True, False):
    if not os.fork():
        if uses:
            agent.budget()
        sys.exit(3)
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)])
"""  # noqa: E501
    arguments = [sys.executable, "-W", "ignore", "-c", program, settings.url, settings.tenant]
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=3 * LONGEST, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[3, 3]\n", "")
