"""``aegis budget``: what is left, and new limits while agents run."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, dollars, print_json, shown, with_governor, with_resources
from aegis_core.protocol import BudgetState

app = typer.Typer(help="Show and set budgets.", no_args_is_help=True)


@app.command()
def show(
    agent: Annotated[str | None, typer.Argument(help="An agent; without one: the tenant's shared budgets.")] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show every budget that bounds an agent, or all shared ones.

    Example: aegis budget show crew-researcher-01
    """
    if agent:
        report = with_governor(tenant, lambda governor: governor.budget(agent))
        states = report.budgets
    else:
        states = with_resources(tenant, lambda governor: governor.shared_budgets())
    if json:
        print_json(states)
    else:
        _table(states)


@app.command("set")
def set_(
    scope: Annotated[str, typer.Argument(help="agent, session, tenant, model, resource or label")],
    name: Annotated[str, typer.Argument(help="Whose: an agent, a model, team=research …; for the tenant: -")],
    limit: Annotated[str, typer.Argument(help="Dollars, such as 25 or 0.50")],
    window: Annotated[str, typer.Option(help="hour, day, week, month, total, or rolling:24h")] = "day",
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Set one limit. It decides the very next request; what is spent and reserved stays.

    Examples: aegis budget set agent crew-researcher-01 25 · aegis budget set label team=research 300 --window month
    """
    state = with_governor(tenant, lambda governor: governor.set_budget(scope, name, window, limit, author="cli"))
    if json:
        print_json(state)
    else:
        _table((state,))


def _table(states: tuple[BudgetState, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("budget", "window"):
        table.add_column(column, overflow="fold")
    for column in ("limit", "spent", "held", "left"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("used", no_wrap=True)
    table.add_column("anew (UTC)", no_wrap=True)
    for state in states:
        used = 1.0 if not state.limit_usd else float((state.spent_usd + state.reserved_usd) / state.limit_usd)
        colour = "red" if used >= 1 else "yellow" if used >= 0.8 else "green"
        table.add_row(
            state.scope if state.scope == "tenant" else f"{state.scope} {shown(state.name)}", state.window,
            dollars(state.limit_usd), dollars(state.spent_usd), dollars(state.reserved_usd),
            dollars(state.remaining_usd), f"[{colour}]{'█' * min(5, round(used * 5)):·<5}[/] {used:4.0%}",
            f"{state.resets_at:%b %d %H:%M}" if state.resets_at else "never",
        )  # fmt: skip
    Console().print(table)
