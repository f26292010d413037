"""A run that is killed goes on in another process: to its end, and with no side effect twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aegis_langgraph import ApprovalResumer

from aegis_core import Settings, connect_sync
from aegis_core.client.sync import SyncGovernor

from . import payer

pytestmark = [pytest.mark.timeout(400), pytest.mark.concurrent]

PATIENCE = 90.0
"""Seconds for what is a matter of a few on a quiet machine."""
THREAD = "thread-1"
CONFIG = {"configurable": {"thread_id": THREAD}}


@pytest.fixture
def operator(settings: Settings) -> Iterator[SyncGovernor]:
    with connect_sync(settings=settings) as governor:
        yield governor


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "AEGIS_URL": settings.url, "AEGIS_TENANT": settings.tenant, "AEGIS_LOG_LEVEL": "warning"}


def started(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-W", "ignore", payer.__file__, *arguments], env=environment, text=True)


def killed(environment: dict[str, str], folder: Path, die_at: str = "") -> None:
    with started(environment, "start", THREAD, str(folder), die_at) as process:
        assert process.wait(PATIENCE) == -signal.SIGKILL


@contextmanager
def two_resumers(environment: dict[str, str], folder: Path, stalled_seconds: float = 60) -> Iterator[None]:
    """Two resumers at once, ready when this is entered, which end with the thread, or when there is a file `end`."""
    resumers = [started(environment, "resume", THREAD, str(folder), str(stalled_seconds)) for _ in range(2)]
    try:
        for process in resumers:
            wait_until((folder / f"ready-{process.pid}").exists, "a resumer did not start")
        yield
        assert [process.wait(PATIENCE) for process in resumers] == [0, 0]
    finally:
        for process in resumers:
            process.kill()
            process.wait()


def wait_until(holds: Callable[[], bool], or_else: str) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, or_else
        time.sleep(0.05)


@contextmanager
def built(operator: SyncGovernor, folder: Path) -> Iterator[Any]:
    """The graph, on a connection of its own to the file of its threads."""
    graph = payer.build(operator, folder)
    try:
        yield graph
    finally:
        graph.checkpointer.conn.close()


def payments(folder: Path) -> list[str]:
    path = folder / "payments"
    return path.read_text().split() if path.exists() else []


def approve(operator: SyncGovernor) -> None:
    """The operator approves the one question that waits."""
    wait_until(lambda: bool(operator.approvals.list()), "nobody asks")
    (approval,) = operator.approvals.list()
    assert (approval.tool, approval.amount_usd, approval.metadata["thread"]) == ("pay", 7, THREAD)
    operator.approvals.decide(approval.approval_id, "approve", by="operator")


def ended_with(graph: Any) -> str:
    state = graph.get_state(CONFIG)
    assert not state.tasks, f"the thread has not ended: {state.tasks}"
    return state.values["messages"][-1].text


@pytest.mark.deep
def test_killed_at_the_interrupt(operator: SyncGovernor, environment: dict[str, str], tmp_path: Path) -> None:
    killed(environment, tmp_path)
    with two_resumers(environment, tmp_path):
        assert payments(tmp_path) == []
        approve(operator)
    assert payments(tmp_path) == ["7"]
    with built(operator, tmp_path) as graph:
        assert ended_with(graph) == "I was told: paid 7"


def test_killed_between_ticket_and_checkpoint(
    operator: SyncGovernor, environment: dict[str, str], tmp_path: Path
) -> None:
    killed(environment, tmp_path, "ticket")
    approve(operator)
    with built(operator, tmp_path) as graph:
        assert not graph.get_state(CONFIG).interrupts
        with two_resumers(environment, tmp_path, 5):  # longer than any step, or one is taken for dead by the other
            pass
        assert payments(tmp_path) == ["7"]
        assert ended_with(graph) == "I was told: paid 7"
    assert len(operator.approvals.list("approved")) == 1, "it asked a second time"


@pytest.mark.deep
def test_killed_between_the_writes_of_a_step_and_its_checkpoint(
    operator: SyncGovernor, environment: dict[str, str], tmp_path: Path
) -> None:
    """The approval is read, and no next step is known: what the step wrote is all that there is."""
    killed(environment, tmp_path)
    approve(operator)
    with started(environment, "resume-and-die", THREAD, str(tmp_path), "checkpoint") as process:
        assert process.wait(PATIENCE) == -signal.SIGKILL
    with built(operator, tmp_path) as graph:
        state = graph.get_state(CONFIG)
        assert (state.next, state.interrupts, [task.name for task in state.tasks]) == ((), (), ["approve"])
        with two_resumers(environment, tmp_path, 5):
            pass
        assert payments(tmp_path) == ["7"]
        assert ended_with(graph) == "I was told: paid 7"


@pytest.mark.deep
@pytest.mark.parametrize("die_at", ["before the payment", "after the payment"])
def test_killed_inside_a_tool_asks_what_became_of_it(
    operator: SyncGovernor, environment: dict[str, str], tmp_path: Path, die_at: str
) -> None:
    killed(environment, tmp_path)
    approve(operator)
    with started(environment, "resume-and-die", THREAD, str(tmp_path), die_at) as process:
        assert process.wait(PATIENCE) == -signal.SIGKILL
    done = ["7"] if die_at.startswith("after") else []
    assert payments(tmp_path) == done
    with built(operator, tmp_path) as graph:
        with two_resumers(environment, tmp_path, 0.5):
            wait_until(lambda: bool(graph.get_state(CONFIG).interrupts), "no resumer went on")
            time.sleep(1)  # in which both look again, and leave it alone
            (tmp_path / "end").touch()
        assert payments(tmp_path) == done, "what may have been done was done again"
        (asked,) = graph.get_state(CONFIG).interrupts
        assert "was started before and its outcome is unknown" in asked.value["action_requests"][0]["description"]
        resumer = ApprovalResumer(graph, operator, name="payers")
        if done:
            resumer.answer(THREAD, [{"type": "respond", "message": "the bank says it was paid"}])
            assert ended_with(graph) == "I was told: the bank says it was paid"
        else:
            resumer.answer(THREAD, [{"type": "approve"}])
            approve(operator)  # running it again is another payment, which needs another approval
            resumer.run_once()
            assert ended_with(graph) == "I was told: paid 7"
        assert payments(tmp_path) == ["7"]
