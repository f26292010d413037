"""``aegis workflows``: plans that were approved as a whole, what is used of them, and their end for every member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import (
    AsOption,
    JsonFlag,
    TenantOption,
    dollars,
    print_json,
    shown,
    shown_name,
    stdout_console,
    whoami,
    with_governor,
)
from aegis_core.cli.finding import beginning_with, none_begins, whole_id

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from rich.table import Table

    from aegis_core.client.agent import Governor
    from aegis_core.client.ports import WorkflowsPort
    from aegis_core.protocol.workflows import Workflow

app = typer.Typer(help="List, show, make smaller and revoke whole workflows.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The workflow, as `list` shows it; its first letters are enough.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=500)] = 100, tenant: TenantOption = None, json: JsonFlag = False
) -> None:
    """List workflows, the newest first, with those that ended within 7 days.

    Example: aegis workflows list
    """
    found = with_governor(tenant, lambda governor: governor.workflows.list(limit=limit))
    if json:
        print_json(found)
    else:
        stdout_console().print(_table(found) if found else "There are no workflows.")


@app.command()
def show(workflow: Id, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show what is planned, what is used of it, what was asked beside it, and who joined.

    Example: aegis workflows show wf_0f3c2a9d
    """
    found = with_governor(tenant, lambda governor: _find(governor.workflows, workflow))
    if json:
        print_json(found)
    else:
        stdout_console().print(_details(found))


@app.command()
def revoke(workflow: Id, who: AsOption = None, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """End a workflow for every member at once. Open grants may still be settled; questions are withdrawn.

    Example: aegis workflows revoke wf_0f3c2a9d
    """

    async def act(governor: Governor) -> Workflow:
        found = await _find(governor.workflows, workflow)
        return await governor.workflows.end(found.workflow_id, by=whoami(who))

    done = with_governor(tenant, act)
    if json:
        print_json(done)
        return
    typer.echo(
        f"{done.workflow_id} has ended ({done.ended}): {dollars(done.used_usd)} of {dollars(done.plan.budget_usd)} was "
        f"used, {dollars(done.beside_usd)} beside the plan; {done.open} grants are still open."
    )


@app.command()
def narrow(
    workflow: Id,
    budget: Annotated[str | None, typer.Option(help="A smaller budget (USD) for all of it.")] = None,
    lasts: Annotated[str | None, typer.Option("--for", help="A shorter time from its approval on: 30m, 2h.")] = None,
    step: Annotated[
        list[str] | None,
        typer.Option(help="A smaller step: NUMBER=TIMES, NUMBER=TIMES@USD or NUMBER=@USD; 0 times takes it away."),
    ] = None,
    who: AsOption = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Make a plan smaller, before or after it was approved. What is used stays used.

    Examples: aegis workflows narrow wf_0f3c2a9d --step 3=10 --budget 5 · aegis workflows narrow wf_0f3c2a9d --for 30m
    """
    from aegis_core.protocol.parsing import parse
    from aegis_core.protocol.plan_edits import step_change
    from aegis_core.protocol.spans import seconds_of
    from aegis_core.protocol.workflows import WorkflowChange

    seconds = None if lasts is None else seconds_of(lasts, "for")
    steps = tuple(map(step_change, step or ()))

    async def act(governor: Governor) -> Workflow:
        found = await _find(governor.workflows, workflow)
        change = parse(WorkflowChange, content=found.content, budget_usd=budget, seconds=seconds, steps=steps)
        return await governor.workflows.change(found.workflow_id, change, by=whoami(who))

    done = with_governor(tenant, act)
    if json:
        print_json(done)
    else:
        stdout_console().print(_details(done))


async def _find(workflows: WorkflowsPort, name: str) -> Workflow:
    """A workflow by its id, or by the first letters of it."""
    if named := whole_id(name, "wf_"):
        return await workflows.get(named)

    def page(after: str | None, limit: int) -> Awaitable[tuple[Workflow, ...]]:
        return workflows.list(after=after, limit=limit)

    found = await beginning_with(name, "wf_", "workflows", page, lambda each: each.workflow_id)
    if found is None:
        raise none_begins(name, "workflow")
    return await workflows.get(found.workflow_id)


def _table(found: tuple[Workflow, ...]) -> Table:
    from rich.table import Table

    rows = Table("workflow", "name", "opener", "state", box=None, header_style="bold", pad_edge=False)
    for name in ("used", "of", "beside", "members"):
        rows.add_column(name, justify="right")
    rows.add_column("until (UTC)")
    for each in found:
        rows.add_row(
            each.workflow_id[:11], shown(each.plan.name[:60]), shown_name(each.opener), each.ended or each.state,
            dollars(each.used_usd), dollars(each.plan.budget_usd), dollars(each.beside_usd), str(each.joined),
            f"{each.expires_at:%m-%d %H:%M}" if each.expires_at else "",
        )  # fmt: skip
    return rows


def _details(each: Workflow) -> Table:
    from rich.table import Table

    from aegis_core.channels.texts import plan_facts
    from aegis_core.cli.approvals_page import plan_table

    rows = Table.grid(padding=(0, 2))
    rows.add_column()
    rows.add_column(overflow="fold")
    facts = {
        "workflow": each.workflow_id, "name": each.plan.name, "approval": each.approval_id,
        "state": f"{each.state} ({each.ended})" if each.ended else each.state,
        "approved by": ", ".join(each.approved_by),
        "until": f"{each.expires_at:%Y-%m-%d %H:%M:%S} UTC" if each.expires_at else None,
        "ended": f"{each.ended_at:%Y-%m-%d %H:%M:%S} UTC" if each.ended_at else None, "ended by": each.ended_by,
        **plan_facts(each.plan),
    }  # fmt: skip
    rows.add_row("[bold]opener[/bold]", shown_name(each.opener))
    for name, value in facts.items():
        if value:
            rows.add_row(f"[bold]{name}[/bold]", shown(value))
    rows.add_row("[bold]plan[/bold]", plan_table(each.plan, used=True))
    beside = f"{dollars(each.beside_usd)} granted, {dollars(each.waiting_usd)} waiting, asked {each.asked} times"
    rows.add_row("[bold]beside it[/bold]", beside)
    rows.add_row("[bold]open[/bold]", str(each.open))
    for at, member in enumerate(each.members):
        said = f"{shown_name(member.agent_id)} ({member.agent_framework}, {member.joined_at:%H:%M:%S} UTC)"
        rows.add_row("" if at else "[bold]members[/bold]", said)
    return rows
