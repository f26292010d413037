"""Calls that are wrong, and that a type checker refuses. Never run.

Each expects its error. Where a call is accepted one day, the comment that expects the error is itself an error.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from aegis_core import GovernedAgent, Governor, Grant, LockFields, RequestFields
from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor, SyncGrant


async def asynchronous(governor: Governor, agent: GovernedAgent) -> None:
    await agent.request("Summarise", estimated_cost=1)  # pyright: ignore[reportCallIssue]
    await agent.request("Summarise", priorty=3)  # pyright: ignore[reportCallIssue]
    await agent.request("Summarise", priority="high")  # pyright: ignore[reportArgumentType]
    await agent.request("Summarise", agent_id="another")  # pyright: ignore[reportCallIssue]
    await agent.request("Summarise", session_id="another")  # pyright: ignore[reportCallIssue]
    await agent.request("Summarise", resource_type="kerosene")  # pyright: ignore[reportArgumentType]
    await agent.request("Summarise", verify="twice")  # pyright: ignore[reportArgumentType]
    await agent.request("Summarise", metadata={"run": ["a", "list"]})  # pyright: ignore[reportArgumentType]
    await agent.request(estimated_cost_usd=1)  # pyright: ignore[reportCallIssue]
    await agent.request("Summarise", "llm_tokens")  # pyright: ignore[reportCallIssue]
    async with agent.permit("Summarise", estimated_cost=1):  # pyright: ignore[reportCallIssue]
        pass
    async with agent.permit("Summarise", wait="long"):  # pyright: ignore[reportArgumentType]
        pass
    async with agent.permit("Summarise", on_error="ignore"):  # pyright: ignore[reportArgumentType]
        pass
    await agent.request("Summarise", on_error="release")  # pyright: ignore[reportCallIssue]
    async with agent.permit("Summarise") as grant:
        grant.settle(cost=1)  # pyright: ignore[reportCallIssue]
        plain: SyncGrant = grant  # pyright: ignore[reportAssignmentType]
        _ = plain
    agent.lock("wallet", permit=2)  # pyright: ignore[reportCallIssue]
    agent.lock("wallet", priority="high")  # pyright: ignore[reportArgumentType]
    agent.lock("wallet", mode="rw")  # pyright: ignore[reportArgumentType]
    agent.lock("wallet", ttl_seconds=3)  # pyright: ignore[reportCallIssue]
    agent.lock_all("a", "b", permit=2)  # pyright: ignore[reportCallIssue]
    agent.lock_all("a", "b", token="lk_")  # pyright: ignore[reportCallIssue]
    with agent.lock("wallet"):  # pyright: ignore[reportGeneralTypeIssues]
        pass
    await governor.handshake("a", budget=1)  # pyright: ignore[reportCallIssue]
    await governor.handshake("a", framework="rails")  # pyright: ignore[reportArgumentType]


def plain(governor: SyncGovernor, agent: SyncGovernedAgent) -> None:
    agent.request("Summarise", estimated_cost=1)  # pyright: ignore[reportCallIssue]
    agent.request("Summarise", priority="high")  # pyright: ignore[reportArgumentType]
    agent.request("Summarise", agent_id="another")  # pyright: ignore[reportCallIssue]
    agent.request("Summarise", resource_type="kerosene")  # pyright: ignore[reportArgumentType]
    with agent.permit("Summarise", estimated_cost=1):  # pyright: ignore[reportCallIssue]
        pass
    with agent.permit("Summarise", on_error="ignore"):  # pyright: ignore[reportArgumentType]
        pass
    with agent.permit("Summarise") as grant:
        grant.settle(cost=1)  # pyright: ignore[reportCallIssue]
        awaited: Grant = grant  # pyright: ignore[reportAssignmentType]
        _ = awaited
    agent.lock("wallet", permit=2)  # pyright: ignore[reportCallIssue]
    agent.lock("wallet", mode="rw")  # pyright: ignore[reportArgumentType]
    agent.lock_all("a", "b", permit=2)  # pyright: ignore[reportCallIssue]
    agent.settle("gr_1", cost=1)  # pyright: ignore[reportCallIssue]
    agent.journal("begin", "key")  # pyright: ignore[reportArgumentType]
    governor.handshake("a", framework="rails")  # pyright: ignore[reportArgumentType]
    governor.handshake("a", budget=1)  # pyright: ignore[reportCallIssue]
    governor.approvals.decide("ap_1", "perhaps", by="ada")  # pyright: ignore[reportArgumentType]
    governor.approvals.decide("ap_1", "approve")  # pyright: ignore[reportCallIssue]


def dictionaries() -> None:
    wish: RequestFields = {"estimated_cost": 1}  # pyright: ignore[reportAssignmentType]
    other: RequestFields = {"priority": "high"}  # pyright: ignore[reportAssignmentType]
    lock: LockFields = {"permit": 2}  # pyright: ignore[reportAssignmentType]
    _ = wish, other, lock
