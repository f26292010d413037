"""``aegis budget``: what is left, and new limits while agents run."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    brief,
    dollars,
    print_json,
    shown,
    stdout_console,
    whoami,
    with_governor,
    with_resources,
)
from aegis_core.client.agent import Governor
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.messages import BudgetState
from aegis_core.protocol.windows import WORDS

if TYPE_CHECKING:
    from aegis_core.governor.budget_resets import BudgetReset
    from aegis_core.governor.governor import ResourceGovernor

app = typer.Typer(
    help="Show and set budgets.\n\nExample: aegis budget set agent crew-researcher-01 25", no_args_is_help=True
)


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
        table(states)


@app.command("set")
def set_(
    scope: Annotated[str, typer.Argument(help="agent, session, tenant, model, resource or label")],
    name: Annotated[str, typer.Argument(help="Whose: an agent, a model, team=research …; for the tenant: -")],
    limit: Annotated[str, typer.Argument(help="Dollars, such as 25 or 0.50")],
    window: Annotated[str, typer.Option(help=WORDS)] = "day",
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Set one limit. It decides the very next request; what is spent and reserved stays.

    Example: aegis budget set label team=research 300 --window month
    """

    async def change(governor: Governor) -> BudgetState:
        _of_this_tenant(scope, name, governor.tenant)
        if scope == "model" and isinstance(governor.port, ResourceGovernor):
            governor.port.arbiter.prices.resolve(name)  # a budget of a model that nobody can call caps nothing
        return await governor.set_budget(scope, name, window, limit, author=whoami())

    from aegis_core.governor.governor import ResourceGovernor

    state = with_governor(tenant, change)
    if json:
        print_json(state)
    else:
        table((state,))


@app.command("reset")
def reset(
    scope: Annotated[str, typer.Argument(help="agent, session, tenant, model, resource or label")],
    name: Annotated[str, typer.Argument(help="Whose: an agent, a model, team=research …; for the tenant: -")],
    window: Annotated[str, typer.Option(help=WORDS)] = "day",
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Begin the present window of one budget anew, with nothing spent but what open grants hold.

    It mends a budget that counts in a day to come, because the clock of Redis was ahead: the event `budget_ahead` tells
    of those. The bill stays as it is.

    Example: aegis budget reset agent crew-researcher-01
    """

    async def change(governor: ResourceGovernor) -> BudgetReset:
        _of_this_tenant(scope, name, governor.tenant)
        whose = governor.arbiter.prices.canonical(name) if scope == "model" else name
        return await governor.operator.reset_budget(scope, whose, window, author=whoami())

    done = with_resources(tenant, change)
    if json:
        print_json(done)
        return
    held = f"; {dollars(done.held_usd)} that open grants hold count as spent" if done.held_usd else ""
    text = f"The {window} budget of {scope} {name} begins anew: {dollars(done.spent_usd)} were spent{held}."
    stdout_console().print(shown(text), soft_wrap=True)
    table((done.budget,))


def _of_this_tenant(scope: str, name: str, tenant: str) -> None:
    if scope == "tenant" and name not in {"-", tenant}:
        raise InvalidRequestError(
            f"name: {name!r} is not the tenant of this command, {tenant!r}; give --tenant {name}, and - as the name",
            field="name",
        )


def table(states: tuple[BudgetState, ...]) -> None:
    """Budgets for a person. A terminal too narrow for everything has a budget's window below its name."""
    from rich.table import Table

    console = stdout_console()
    wide = console.width >= 120
    money = dollars if wide else brief
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("budget", overflow="fold", min_width=16)
    for column in ("limit", "spent", "held", "left", "used"):
        table.add_column(column, justify="right", no_wrap=True)
    if wide:
        table.add_column("window", no_wrap=True)
        table.add_column("resets (UTC)", no_wrap=True)
    for state in states:
        name = state.scope if state.scope == "tenant" else f"{state.scope} {shown(state.name)}"
        used = (state.spent_usd + state.reserved_usd) / state.limit_usd if state.limit_usd else Decimal(1)
        colour = "red" if used >= 1 else "yellow" if used >= Decimal("0.8") else "green"
        figures = (state.limit_usd, state.spent_usd, state.reserved_usd, state.remaining_usd)
        cells = (*(money(figure) for figure in figures), f"[{colour}]{_percent(used)}[/]")
        ends = state.resets_at and not state.window.startswith("rolling:")  # those lose an hour or so at a time
        if wide:
            resets = f"{state.resets_at:%Y-%m-%d %H:%M}" if ends else "-"
            table.add_row(name, *cells, state.window, resets)
        else:
            resets = f", resets {state.resets_at:%m-%d %H:%M} UTC" if ends else ""
            table.add_row(f"{name}\n  [dim]{state.window}{resets}[/]", *cells)
    console.print(table)


def _percent(share: Decimal) -> str:
    """Rounded down, so that 100% means all of it; something is never 0%."""
    return "<1%" if 0 < share * 100 < 1 else ">999%" if share >= 10 else f"{int(share * 100)}%"
