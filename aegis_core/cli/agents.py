"""``aegis agents``: who is registered, and the labels by which shared budgets find them."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_core.agent import Governor
from aegis_core.cli.common import JsonFlag, TenantOption, dollars, print_json, shown, with_governor, with_resources
from aegis_core.errors import InvalidRequestError
from aegis_core.protocol import AgentSummary

app = typer.Typer(help="List and label agents.", no_args_is_help=True)


@app.command("list")
def list_(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """List every registered agent with its spending today."""
    found = with_governor(tenant, _all)
    if json:
        print_json(found)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("agent", "framework", "status", "labels", box=None, header_style="bold")
    for column in ("open", "spent today", "reserved", "limit"):
        table.add_column(column, justify="right")
    table.add_column("last seen (UTC)")
    for agent in found:
        table.add_row(
            shown(agent.agent_id), agent.framework, agent.status,
            " ".join(f"{key}={value}" for key, value in agent.labels.items()), str(agent.open_grants),
            dollars(agent.spent_today_usd), dollars(agent.reserved_usd), dollars(agent.limit_usd),
            f"{agent.last_seen_at:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    Console().print(table)


@app.command()
def label(
    agent: Annotated[str, typer.Argument(help="A registered agent.")],
    labels: Annotated[list[str] | None, typer.Argument(help="key=value …; none removes all labels.")] = None,
    tenant: TenantOption = None,
) -> None:
    """Replace an agent's labels. Budgets of a label apply from the next request.

    Example: aegis agents label crew-researcher-01 team=research customer=acme
    """
    pairs: dict[str, str] = {}
    for text in labels or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(f"label: {text!r} must be key=value, such as team=research", field="label")
        pairs[key] = value
    with_resources(tenant, lambda governor: governor.label_agent(agent, pairs, author="cli"))


async def _all(governor: Governor) -> list[AgentSummary]:
    found: list[AgentSummary] = []
    while page := await governor.agents(after=found[-1].agent_id if found else None, limit=500):
        found += page
    return found
