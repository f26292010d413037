"""``aegis locks``: who holds what, who waits, and how to take a lock from a holder that is stuck."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, print_json, shown, stdout_console, whoami, with_governor
from aegis_core.client.agent import Governor
from aegis_core.protocol.errors import NotFoundError
from aegis_core.protocol.locks import LockSummary, LockTaken

app = typer.Typer(help="Show and release locks.\n\nExample: aegis locks show wallet_main", no_args_is_help=True)

Resource = Annotated[str, typer.Argument(help="The lock's name.")]


@app.command("list")
def list_(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """List every lock that is held or waited for.

    Example: aegis locks list --tenant acme
    """
    found = with_governor(tenant, lambda governor: governor.locks())
    if json:
        print_json(found)
        return
    from rich.table import Table

    table = Table("lock", "holders", box=None, header_style="bold", pad_edge=False)
    for column in ("permits", "held", "waiting", "longest wait"):
        table.add_column(column, justify="right", no_wrap=True)
    for lock in found:
        held = max((holder.held_seconds for holder in lock.holders), default=None)
        waited = max((waiter.waited_seconds for waiter in lock.waiters), default=None)
        names = ", ".join(f"{holder.agent_id} #{holder.fence}" for holder in lock.holders) or "nobody"
        table.add_row(
            shown(lock.resource), shown(names), str(lock.permits), _span(held), str(lock.queued), _span(waited)
        )
    stdout_console().print(table if found else "No lock is held.")


@app.command()
def show(resource: Resource, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show a lock's holders with their fences, and its queue in order.

    Example: aegis locks show wallet_main --json
    """

    async def find(governor: Governor) -> LockSummary:
        found = await governor.locks(resource)
        if not found:
            raise NotFoundError(f"Nobody holds or waits for {resource}.", kind="lock", name=resource)
        return found[0]

    lock = with_governor(tenant, find)
    if json:
        print_json(lock)
        return
    from rich.table import Table

    table = Table("", "agent", box=None, header_style="bold", pad_edge=False)
    for column in ("fence", "priority", "weight", "since (UTC)", "for", "until (UTC)"):
        table.add_column(column, justify="right", no_wrap=True)
    for holder in lock.holders:
        state = "must go" if holder.evicting else "shares" if holder.mode == "shared" else "holds"
        table.add_row(
            state, shown(holder.agent_id), str(holder.fence), str(holder.priority), str(holder.weight),
            f"{holder.since:%H:%M:%S}", _span(holder.held_seconds), f"{holder.expires_at:%H:%M:%S}",
        )  # fmt: skip
    for waiter in lock.waiters:
        table.add_row(
            f"waits {waiter.queue_position + 1}", shown(waiter.agent_id), "", str(waiter.priority), str(waiter.weight),
            f"{waiter.since:%H:%M:%S}", _span(waiter.waited_seconds), "",
        )  # fmt: skip
    console = stdout_console()
    console.print(f"{shown(lock.resource)}: {lock.permits} permits, preemption {lock.preemption}")
    console.print(table)
    if lock.queued > len(lock.waiters):
        console.print(f"… and {lock.queued - len(lock.waiters)} more")


@app.command()
def release(
    resource: Resource,
    fence: Annotated[int | None, typer.Option("--fence", help="Only the holder with this fence.")] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Take a lock from its holders. They are refused from then on; the next in the queue gets it at once.

    Example: aegis locks release wallet_main --fence 41
    """

    async def take(governor: Governor) -> tuple[LockTaken, ...]:
        return await governor.port.locks.force_release(resource, fence=fence, author=whoami())

    taken = with_governor(tenant, take)
    if json:
        print_json(taken)
        return
    for one in taken:
        stdout_console().print(f"Taken from {shown(one.agent_id)}, fence {one.fence}.")


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
