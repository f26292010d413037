"""``aegis block|unblock|halt|resume|mode|forget``: in force at the next request, in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    dollars,
    print_json,
    settings_of,
    shown,
    stdout_console,
    whoami,
    with_resources,
)
from aegis_core.protocol.errors import InvalidRequestError

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.operators import OpenRecord
    from aegis_core.governor.standing import Standing

Agent = Annotated[str, typer.Argument(help="A registered agent.")]
All = Annotated[bool, typer.Option("--all", help="Every tenant on this Redis.")]


def block(agent: Agent, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Refuse an agent from its next request on, decline its open questions, and list what is open.

    Example: aegis block crew-researcher-01
    """
    found = with_resources(tenant, lambda governor: governor.operator.block(agent, author=whoami()))
    _show(f"{shown(agent)} is blocked, from its next request.", found, json)


def unblock(agent: Agent, tenant: TenantOption = None) -> None:
    """Let a blocked agent go on.

    Example: aegis unblock crew-researcher-01
    """
    with_resources(tenant, lambda governor: governor.operator.unblock(agent, author=whoami()))
    _say(f"{shown(agent)} may go on, from its next request.")


def halt(tenant: TenantOption = None, everything: All = False, json: JsonFlag = False) -> None:
    """Refuse every agent from its next request on, decline open questions, and list what is open.

    Examples: aegis halt --tenant acme · aegis halt --all
    """
    found: list[OpenRecord] = []
    names = _tenants(tenant, everything)
    for name in names:
        found += with_resources(name, lambda governor: governor.operator.halt(author=whoami()))
    whose = ", ".join(shown(name or settings_of().tenant) for name in names)
    _show(f"Every agent of {whose} is refused, from its next request: aegis resume", found, json)


def resume(tenant: TenantOption = None, everything: All = False) -> None:
    """Let halted agents go on. Blocked ones stay blocked.

    Example: aegis resume --all
    """
    for name in _tenants(tenant, everything):
        standing = with_resources(name, _resumed)
        blocked = f" {standing.blocked_agents} agents stay blocked: aegis status" if standing.blocked_agents else ""
        _say(f"Tenant {shown(name or settings_of().tenant)} goes on, from the next request.{blocked}")


def mode(
    choice: Annotated[str, typer.Argument(help="enforce or observe")],
    tenant: TenantOption = None,
) -> None:
    """Enforce policy and budgets, or grant and book everything and say what would have been decided.

    Example: aegis mode observe --tenant staging
    """
    if choice not in {"enforce", "observe"}:
        raise InvalidRequestError(f"mode: must be enforce or observe, not {choice!r}", field="mode")
    wanted = "observe" if choice == "observe" else "enforce"
    with_resources(tenant, lambda governor: governor.operator.set_mode(wanted, author=whoami()))
    does = "only say what they would decide; everything is granted and booked" if wanted == "observe" else "decide"
    _say(f"Rules and budgets of tenant {shown(settings_of(tenant).tenant)} {does}, from the next request.")


def forget(agent: Agent, tenant: TenantOption = None) -> None:
    """Remove what an agent wrote. Its events stay, with every amount, as do its budgets and the bill.

    Example: aegis forget crew-researcher-01
    """
    removed = with_resources(tenant, lambda governor: governor.operator.forget(agent, author=whoami()))
    typer.echo(f"{removed} texts removed.")


def _tenants(tenant: str | None, everything: bool) -> list[str | None]:
    if not everything:
        return [tenant]
    return list(with_resources(tenant, lambda governor: governor.operator.tenants()))


async def _resumed(governor: ResourceGovernor) -> Standing:
    await governor.operator.resume(author=whoami())
    return await governor.tenant_store.standing()


def _say(text: str) -> None:
    stdout_console().print(text, soft_wrap=True)


def _show(text: str, found: list[OpenRecord], json: bool) -> None:
    if json:
        print_json(found)
        return
    _say(text)
    from rich.console import Console
    from rich.table import Table

    table = Table("open", "agent", "became", box=None, header_style="bold", pad_edge=False)
    table.add_column("amount", justify="right")
    table.add_column("until (UTC)")
    for row in found:
        table.add_row(
            row.grant_id, shown(row.agent_id), row.state, dollars(row.amount_usd), f"{row.expires_at:%H:%M:%S}"
        )
    Console().print(table if found else "Nothing was open.")
