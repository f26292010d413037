"""``aegis activity`` shows what happened hour by hour; ``aegis observe`` counts it where no server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    dollars,
    once_or_on,
    print_json,
    say,
    shown,
    stdout_console,
    with_governor,
    with_resources,
)
from aegis_core.client.agent import Governor
from aegis_core.observe.retention import Retention
from aegis_core.observe.rollups import RollupConsumer
from aegis_core.observe.running import observe as run
from aegis_core.protocol.activity import ActivityPage

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor

_Text = str | None


def activity(
    by: Annotated[
        str, typer.Option(help="hour, agent, model, task_type, rule, lock, labels or label:NAME; several with commas.")
    ] = "agent",
    since: Annotated[str, typer.Option(help="From that hour on: 2026-11-30T03:00, or 15m, 2h, 7d ago.")] = "24h",
    until: Annotated[_Text, typer.Option(help="Up to that hour; default: now.")] = None,
    agent: Annotated[_Text, typer.Option(help="Only of this agent.")] = None,
    model: Annotated[_Text, typer.Option(help="Only of this model.")] = None,
    task_type: Annotated[_Text, typer.Option(help="Only of this type of task.")] = None,
    rule: Annotated[_Text, typer.Option(help="Only what this rule decided.")] = None,
    lock: Annotated[_Text, typer.Option(help="Only of this lock.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most rows.")] = 100,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what was asked, refused, charged and waited for, summed up by the hour. Times are UTC.

    These sums are kept longer than events. `aegis usage` is the bill, by days of the tenant's zone.

    Example: aegis activity --by model,task_type --since 7d
    """
    given = {
        "by": by, "since": since, "until": until, "agent": agent, "model": model, "task_type": task_type, "rule": rule,
        "lock": lock, "limit": limit,
    }  # fmt: skip

    async def work(governor: Governor) -> ActivityPage:
        return await governor.activity(**{name: value for name, value in given.items() if value is not None})

    page = with_governor(tenant, work)
    if json:
        print_json(page)
        return
    _table(by.split(","), page)
    if page.behind:
        say(f"{page.behind:,} events are not counted yet; `aegis serve` and `aegis observe` count them")
    if page.missed:
        say(f"{page.missed:,} events were gone before anybody had counted them")


def observe(
    once: Annotated[bool, typer.Option("--once", help="Count and trim what there is, and end.")] = False,
    tenant: TenantOption = None,
) -> None:
    """Count events by the hour, and remove those that are too old, until stopped. `aegis serve` does so by itself.

    Several may run; one of them works, and another goes on when it ends.

    Example: aegis observe --once
    """

    async def work(governor: ResourceGovernor) -> None:
        rollups, retention = RollupConsumer(governor.observation), Retention(governor.observation)
        elsewhere = "Another process counts these events."
        counted = await once_or_on(once, lambda: run(rollups, retention), rollups.look, rollups.leave, elsewhere)
        typer.echo(f"{counted:,} events counted, {await retention.look():,} removed.")

    with_resources(tenant, work)


def _table(by: list[str], page: ActivityPage) -> None:
    from rich.table import Table

    console = stdout_console()
    if not page.rows:
        console.print("Nothing happened in these hours, or nobody has counted it.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in by:
        table.add_column(shown(name.replace("_", " ")), overflow="fold")
    for name in ("requests", "refused", "asked a person or lock", "charged", "estimated", "tokens", "waited"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in page.rows:
        sums = row.sums
        table.add_row(
            *(shown(row.names[name] or "(none)") for name in by), f"{sums.requests:,}", f"{sums.rejected:,}",
            f"{sums.pending:,}", dollars(sums.charged_usd), dollars(sums.estimated_usd),
            f"{sums.input_tokens + sums.output_tokens:,}", f"{sums.waited_seconds:,.1f} s",
        )  # fmt: skip
    console.print(table)
