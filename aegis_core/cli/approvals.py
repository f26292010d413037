"""``aegis approvals``: what waits for a person, decided from the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.approvals_page import details, table
from aegis_core.cli.common import (
    AsOption,
    JsonFlag,
    TenantOption,
    dollars,
    print_json,
    say,
    shown,
    shown_name,
    stdout_console,
    whoami,
    with_governor,
)
from aegis_core.cli.finding import beginning_with, none_begins, whole_id
from aegis_core.protocol.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from rich.table import Table

    from aegis_core.client.ports import ApprovalsPort
    from aegis_core.protocol.approvals import Approval, Decision, Envelope, Listing

app = typer.Typer(help="List, show and decide what waits for a person.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The approval, as `list` shows it; its first letters are enough.")]
Why = Annotated[str, typer.Option("--reason", help="Told to the agent, and to anyone who asks later.")]
_STATUSES = ("open", "ended", "approved", "rejected", "timed_out", "withdrawn")


@app.command("list")
def list_(
    status: Annotated[str, typer.Option(help="open, ended, approved, rejected, timed_out or withdrawn.")] = "open",
    agent: Annotated[str | None, typer.Option(help="Only this agent's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 100,
    after: Annotated[str | None, typer.Option(help="Go on after this approval, the last of the list before.")] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """List what waits, the longest waiting first; or what ended, the newest first.

    Examples: aegis approvals list · aegis approvals list --status rejected --json
    """
    from aegis_core.client.agent import Governor

    if status not in _STATUSES:
        raise InvalidRequestError(f"status: must be one of {', '.join(_STATUSES)}", field="status")
    listing: Listing = status

    async def read(governor: Governor) -> tuple[Approval, ...]:
        approvals = governor.approvals
        cursor = None if after is None else (await _find(approvals, after)).approval_id
        return await approvals.list(listing, agent_id=agent, after=cursor, limit=limit)

    found = with_governor(tenant, read)
    if json:
        print_json(found)
    elif found:
        stdout_console().print(table(found))
    else:
        typer.echo(f"There are no {'more ' if after else ''}{status.replace('_', ' ')} approvals.")
    if len(found) == limit:
        say(f"there may be more; go on with --after {found[-1].approval_id}")


@app.command()
def show(approval: Id, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show one approval: verified facts first, the agent's own words last.

    Example: aegis approvals show ap_0f3c2a9d
    """
    found = with_governor(tenant, lambda governor: _find(governor.approvals, approval))
    if json:
        print_json(found)
    else:
        stdout_console().print(details(found))


@app.command()
def approve(
    approval: Id, reason: Why = "", who: AsOption = None,
    cost: Annotated[str | None, typer.Option(help="Approve another amount (USD); the policy judges it.")] = None,
    tenant: TenantOption = None, json: JsonFlag = False,
) -> None:  # fmt: skip
    """Let the agent go on.

    Examples: aegis approvals approve ap_0f3c2a9d · aegis approvals approve ap_0f3c2a9d --cost 5 --reason "half of it"
    """
    _decide(approval, "approve", reason, who, cost, tenant, json)


@app.command()
def reject(
    approval: Id, reason: Why = "", who: AsOption = None, tenant: TenantOption = None, json: JsonFlag = False
) -> None:
    """Refuse it. The same request of the agent is refused for an hour.

    Example: aegis approvals reject ap_0f3c2a9d --reason "pay after delivery"
    """
    _decide(approval, "reject", reason, who, None, tenant, json)


@app.command()
def watch(who: AsOption = None, tenant: TenantOption = None) -> None:
    """A live view of what waits: j and k choose, a approves, r rejects, q leaves.

    Example: aegis approvals watch
    """
    from aegis_core.cli.approvals_watch import watch_approvals

    with_governor(tenant, lambda governor: watch_approvals(governor, whoami(who)))


@app.command()
def envelopes(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """List what is approved in advance, and how much of it is used.

    Example: aegis approvals envelopes
    """
    found = with_governor(tenant, lambda governor: governor.approvals.envelopes())
    if json:
        print_json(found)
        return
    stdout_console().print(_envelopes(found) if found else "Nothing is approved in advance.")


@app.command()
def ahead(
    limit: Annotated[str, typer.Argument(help="Up to how many US dollars in all.")],
    agent: Annotated[str | None, typer.Option(help="Whose requests.")] = None,
    session: Annotated[str | None, typer.Option(help="Or those of one session, such as a workflow.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only with this tool.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only what this rule alone asks about.")] = None,
    phrase: Annotated[str | None, typer.Option(help="Only intents in which these words occur.")] = None,
    resource_type: Annotated[
        str | None, typer.Option("--type", help="Only this resource type, such as compute.")
    ] = None,
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1d.")] = "1h",
    reason: Why = "",
    who: AsOption = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Approve in advance: what falls within it is granted without asking, what exceeds it asks again.

    Example: aegis approvals ahead 50 --agent mailer --tool send_certificate --for 2h
    """
    from aegis_core.protocol.approvals import EnvelopeRequest
    from aegis_core.protocol.parsing import parse
    from aegis_core.protocol.spans import seconds_of

    seconds = seconds_of(lasts, "for")
    wish = parse(
        EnvelopeRequest, agent_id=agent, session_id=session, tool=tool, rule=rule, phrase=phrase,
        resource_type=resource_type, limit_usd=limit, seconds=seconds, reason=reason,
    )  # fmt: skip
    made = with_governor(tenant, lambda governor: governor.approvals.approve_ahead(wish, by=whoami(who)))
    if json:
        print_json(made)
    else:
        typer.echo(f"{made.envelope_id}: up to {dollars(made.limit_usd)} until {made.expires_at:%Y-%m-%d %H:%M} UTC")


@app.command()
def revoke(
    envelope: Annotated[str, typer.Argument(help="The envelope's id.")], who: AsOption = None,
    tenant: TenantOption = None, json: JsonFlag = False,
) -> None:  # fmt: skip
    """End what was approved in advance, at once. What it granted stays granted.

    Example: aegis approvals revoke ev_0f3c2a9d4b5e6f70
    """
    gone = with_governor(tenant, lambda governor: governor.approvals.revoke(envelope, by=whoami(who)))
    if json:
        print_json(gone)
    else:
        typer.echo(f"{gone.envelope_id} is revoked; {dollars(gone.used_usd)} of {dollars(gone.limit_usd)} was used.")


@app.command()
def limit(
    operator: Annotated[str | None, typer.Argument(help="The name that the operator's credential carries.")] = None,
    usd: Annotated[str | None, typer.Argument(help="Up to how many US dollars; `none` lifts the limit.")] = None,
    who: AsOption = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Set up to how much an operator may approve; without arguments, list the limits.

    Examples: aegis approvals limit · aegis approvals limit telegram:1234 100 · aegis approvals limit ada none
    """
    if operator is not None and usd is not None:
        amount = None if usd == "none" else usd
        with_governor(tenant, lambda governor: governor.approvals.set_limit(operator, amount, by=whoami(who)))
    held = with_governor(tenant, lambda governor: governor.approvals.limits())
    if json:
        print_json(held)
        return
    for name, most in held.items():
        typer.echo(f"{name}  {dollars(most)}")
    if not held:
        typer.echo("Every operator may approve any amount.")


def _decide(
    approval: str, word: Decision, reason: str, who: str | None, cost: str | None, tenant: str | None, json: bool
) -> None:
    from aegis_core.client.agent import Governor
    from aegis_core.protocol.approvals import ApprovalEdit
    from aegis_core.protocol.parsing import parse

    edit = None if cost is None else parse(ApprovalEdit, estimated_cost_usd=cost)

    async def act(governor: Governor) -> Approval:
        approvals = governor.approvals
        found = await _find(approvals, approval)
        return await approvals.decide(
            found.approval_id, word, by=whoami(who), reason=reason, edit=edit, content=found.content
        )

    done = with_governor(tenant, act)
    if json:
        print_json(done)
    elif done.status == "open":
        typer.echo(f"{done.approval_id} still needs {done.missing} more.")
    else:
        typer.echo(f"{done.approval_id} is {done.status}: {dollars(done.amount_usd)} for {shown_name(done.agent_id)}.")


async def _find(approvals: ApprovalsPort, name: str) -> Approval:
    """An approval by its id; or by the first letters of an open one's, or where none fits, of an ended one's."""
    if named := whole_id(name, "ap_"):
        return await approvals.get(named)
    listings: tuple[Listing, ...] = ("open", "ended")
    for listing in listings:

        def page(after: str | None, limit: int, listing: Listing = listing) -> Awaitable[tuple[Approval, ...]]:
            return approvals.list(listing, after=after, limit=limit)

        found = await beginning_with(name, "ap_", f"{listing} approvals", page, lambda each: each.approval_id)
        if found is not None:
            return found
    raise none_begins(name, "approval")


def _envelopes(found: tuple[Envelope, ...]) -> Table:
    from rich.table import Table

    rows = Table("envelope", "whose", "which", box=None, header_style="bold", pad_edge=False)
    rows.add_column("used", justify="right")
    for name in ("of", "uses", "until (UTC)", "by"):
        rows.add_column(name, justify="right" if name in {"of", "uses"} else "left")
    for each in found:
        which = ", ".join(
            f"{name} {value}"
            for name, value in (
                ("tool", each.tool), ("rule", each.rule), ("words", each.phrase), ("type", each.resource_type),
            )
            if value
        )  # fmt: skip
        rows.add_row(
            each.envelope_id, shown_name(each.agent_id or each.session_id), shown(which), dollars(each.used_usd),
            dollars(each.limit_usd), str(each.uses), f"{each.expires_at:%m-%d %H:%M}", shown(each.author),
        )  # fmt: skip
    return rows
