"""``aegis agents``: who is registered, and the labels by which shared budgets find them."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    brief,
    dollars,
    print_json,
    shown,
    shown_name,
    stdout_console,
    whoami,
    with_governor,
    with_resources,
)
from aegis_core.client.agent import Governor
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.messages import AgentSummary

app = typer.Typer(
    help="List and label agents.\n\nExample: aegis agents label crew-researcher-01 team=research", no_args_is_help=True
)


@app.command("list")
def list_(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """List every registered agent with its spending today.

    Example: aegis agents list --tenant acme
    """
    found = with_governor(tenant, _all)
    if json:
        print_json(found)
    else:
        _table(found)


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
        if key in pairs:
            raise InvalidRequestError(f"label: {key!r} is given twice", field="label")
        pairs[key] = value
    with_resources(tenant, lambda governor: governor.label_agent(agent, pairs, author=whoami()))
    stdout_console().print(f"{shown(agent)}: {shown(_words(pairs)) or 'no labels'}")


async def _all(governor: Governor) -> list[AgentSummary]:
    found: list[AgentSummary] = []
    while page := await governor.agents(after=found[-1].agent_id if found else None, limit=500):
        found += page
    return found


def _table(agents: list[AgentSummary]) -> None:
    """A terminal too narrow for everything has an agent's labels below its name."""
    from rich.table import Table

    console = stdout_console()
    wide = console.width >= 120
    if not agents:
        console.print("No agent has shaken hands yet.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("agent", overflow="fold", min_width=16)
    for column in ("framework", "status") if wide else ("framework",):
        table.add_column(column, no_wrap=True)
    for column in ("open", "today", "held", "limit"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("seen (UTC)", no_wrap=True)
    if wide:
        table.add_column("labels")
    money = dollars if wide else brief
    for agent in agents:
        figures = (
            str(agent.open_grants), money(agent.spent_today_usd), money(agent.reserved_usd), money(agent.limit_usd),
        )  # fmt: skip
        name, labels = shown_name(agent.agent_id), shown(_words(agent.labels))
        if wide:
            seen = f"{agent.last_seen_at:%Y-%m-%d %H:%M}"
            table.add_row(name, agent.framework, agent.status, *figures, seen, labels)
        else:
            name += "" if agent.status == "active" else f" [red]{agent.status}[/]"
            name += f"\n  [dim]{labels}[/]" if labels else ""
            table.add_row(name, agent.framework, *figures, f"{agent.last_seen_at:%m-%d %H:%M}")
    console.print(table)


def _words(labels: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in labels.items())
