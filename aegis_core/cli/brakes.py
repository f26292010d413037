"""``aegis block|unblock|halt|resume|mode|forget``: in force at the next request, in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, dollars, print_json, shown, with_resources
from aegis_core.protocol.errors import InvalidRequestError

if TYPE_CHECKING:
    from aegis_core.governor.operators import OpenRecord

Agent = Annotated[str, typer.Argument(help="A registered agent.")]
All = Annotated[bool, typer.Option("--all", help="Every tenant on this Redis.")]


def block(agent: Agent, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Refuse an agent from its next request on, decline its open questions, and list what is open.

    Example: aegis block crew-researcher-01
    """
    _show(with_resources(tenant, lambda governor: governor.operator.block(agent, author="cli")), json)


def unblock(agent: Agent, tenant: TenantOption = None) -> None:
    """Let a blocked agent go on.

    Example: aegis unblock crew-researcher-01
    """
    with_resources(tenant, lambda governor: governor.operator.unblock(agent, author="cli"))


def halt(tenant: TenantOption = None, everything: All = False, json: JsonFlag = False) -> None:
    """Refuse every agent from its next request on, decline open questions, and list what is open.

    Examples: aegis halt --tenant acme · aegis halt --all
    """
    found: list[OpenRecord] = []
    for name in _tenants(tenant, everything):
        found += with_resources(name, lambda governor: governor.operator.halt(author="cli"))
    _show(found, json)


def resume(tenant: TenantOption = None, everything: All = False) -> None:
    """Let halted agents go on. Blocked ones stay blocked.

    Example: aegis resume --all
    """
    for name in _tenants(tenant, everything):
        with_resources(name, lambda governor: governor.operator.resume(author="cli"))


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
    with_resources(tenant, lambda governor: governor.operator.set_mode(wanted, author="cli"))


def forget(agent: Agent, tenant: TenantOption = None) -> None:
    """Remove what an agent wrote. Its events stay, with every amount, as do its budgets and the bill.

    Example: aegis forget crew-researcher-01
    """
    removed = with_resources(tenant, lambda governor: governor.operator.forget(agent, author="cli"))
    typer.echo(f"{removed} texts removed.")


def _tenants(tenant: str | None, everything: bool) -> list[str | None]:
    if not everything:
        return [tenant]
    return list(with_resources(tenant, lambda governor: governor.operator.tenants()))


def _show(found: list[OpenRecord], json: bool) -> None:
    if json:
        print_json(found)
        return
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
