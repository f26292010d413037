"""``aegis status``: one screen on how a tenant stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aegis_core.cli.budget import table as budget_table
from aegis_core.cli.common import JsonFlag, TenantOption, print_json, shown, shown_name, stdout_console, with_resources

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.standing import Standing
    from aegis_core.governor.tenant import ChannelHealth
    from aegis_core.protocol.locks import LockSummary
    from aegis_core.protocol.messages import BudgetState

_MOST = 5
"""Rows of each kind; the rest is a number."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a tenant stands, at `at` by the clock of Redis."""

    at: datetime
    tenant: str
    server: str
    policy: str
    standing: Standing
    blocked: Sequence[str]
    budgets: Sequence[BudgetState]
    open_grants: int
    approvals: int
    oldest_approval_seconds: float
    locks: Sequence[LockSummary]
    channels: Sequence[ChannelHealth]


def status(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show on one screen what is set and what is open.

    Example: aegis status --tenant acme
    """
    found = with_resources(tenant, look)
    if json:
        print_json(found)
        return
    console = stdout_console()
    for subject, text in _lines(found):
        console.print(f"[bold]{subject:<10}[/] {text}", soft_wrap=True)
    if found.budgets:
        console.print()
        budget_table(tuple(found.budgets[: 2 * _MOST]))
        if (more := len(found.budgets) - 2 * _MOST) > 0:
            console.print(f"and {more} more: aegis budget show")


async def look(governor: ResourceGovernor) -> Status:
    """All of it, asked one after the other; nothing is changed."""
    from aegis_core.channels.registry import channels_health

    store = governor.tenant_store
    counts, standing = await store.counts(), await store.standing()
    return Status(
        at=await governor.clock(),
        tenant=governor.tenant,
        server=await store.ping(),
        policy=governor.policy_summary(),
        standing=standing,
        blocked=await store.blocked() if standing.blocked_agents else [],
        budgets=sorted(await governor.shared_budgets(), key=_left),
        open_grants=await store.count_open() - counts.approvals_open,
        approvals=counts.approvals_open,
        oldest_approval_seconds=counts.oldest_approval_seconds,
        locks=await governor.locks.overview(None),
        channels=await channels_health(store),
    )


def _left(state: BudgetState) -> float:
    """What is left as a part of the limit: those that are nearest to it come first."""
    return float(state.remaining_usd / state.limit_usd) if state.limit_usd else 0.0


def _lines(found: Status) -> Iterator[tuple[str, str]]:
    standing = found.standing
    yield "server", f"{shown(found.server)}, {found.at:%Y-%m-%d %H:%M:%S} UTC"
    yield (
        "tenant",
        f"{shown(found.tenant)}, {'[red]halted[/]: aegis resume' if standing.status == 'halted' else 'active'}",
    )
    yield "mode", "[yellow]observe[/]: nothing is refused" if standing.mode == "observe" else "enforce"
    yield "policy", shown(found.policy)
    yield "keys", f"{standing.keys} in force" if standing.keys else "none: the HTTP API serves this machine only"
    if found.blocked:
        yield "blocked", _some([shown_name(name) for name in found.blocked], standing.blocked_agents)
    yield "grants", f"{found.open_grants:,} open"
    oldest = f", the oldest for {found.oldest_approval_seconds:,.0f} s: aegis approvals" if found.approvals else ""
    yield "approvals", f"{found.approvals:,} wait{oldest}"
    held = [
        f"{shown_name(lock.resource)} ({', '.join(shown_name(one.agent_id) for one in lock.holders[:_MOST])}"
        f"{f'; {lock.queued} wait' if lock.queued else ''})"
        for lock in found.locks
    ]
    yield "locks", _some(held, len(held)) if held else "none held"
    ways = [
        f"{one.name} {'[red]fails[/]' if any(way and way.problem for way in (one.sending, one.hearing)) else 'works'}"
        for one in found.channels
    ]
    yield "channels", ", ".join(ways) or "none served"


def _some(names: list[str], number: int) -> str:
    more = f" and {number - _MOST} more" if number > _MOST else ""
    return ", ".join(names[:_MOST]) + more
