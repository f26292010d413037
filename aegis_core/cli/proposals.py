"""``aegis kaizen proposals`` and what decides on them: changes of the policy that Kaizen proposes."""

from __future__ import annotations

import json as plain_json
from typing import Annotated

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, print_json, shown, stdout_console, whoami, with_governor
from aegis_core.client.agent import Governor
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.proposals import PolicyProposal, PolicyProposals, ProposalAct
from aegis_core.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Changes of the policy that Kaizen proposes, tries, keeps or takes back.")
_Name = Annotated[str, typer.Argument(metavar="ID", help="Of a proposal.", show_default=False)]
_Reason = Annotated[str, typer.Option(help="Kept in the log.")]


@app.command("list")
def list_all(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """List them, the newest first.

    Example: aegis kaizen proposals list
    """

    async def work(governor: Governor) -> PolicyProposals:
        return await governor.port.proposals.all()

    found = with_governor(tenant, work)
    if json:
        print_json(found)
        return
    if not found.proposals:
        typer.echo("Nothing is proposed.")
    for each in found.proposals:
        _line(each)


@app.command()
def show(name: _Name, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show one: its rules, evidence, backtest and canary.

    Example: aegis kaizen proposals show p-1a2b3c4d
    """

    async def work(governor: Governor) -> PolicyProposal:
        return await governor.port.proposals.one(name)

    _print(with_governor(tenant, work), json=json)


@app.command()
def approve(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Approve it: it is tried in 10, 25 and 50 % of the sessions, and then kept or taken back.

    Example: aegis kaizen proposals approve p-1a2b3c4d
    """
    _act(name, "approve", reason, tenant, json=json)


@app.command()
def reject(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Reject it. For another policy it may be proposed again.

    Example: aegis kaizen proposals reject p-1a2b3c4d --reason "not in this quarter"
    """
    _act(name, "reject", reason, tenant, json=json)


@app.command()
def later(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Ask again in a week.

    Example: aegis kaizen proposals later p-1a2b3c4d
    """
    _act(name, "later", reason, tenant, json=json)


@app.command()
def never(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Propose this change no more.

    Example: aegis kaizen proposals never p-1a2b3c4d
    """
    _act(name, "never", reason, tenant, json=json)


@app.command()
def rollback(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Take back what is tried or was kept: the policy before it holds again.

    Example: aegis kaizen proposals rollback p-1a2b3c4d
    """
    _act(name, "rollback", reason, tenant, json=json)


def commit(name: _Name, reason: _Reason = "", tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Approve a proposal: short for `aegis kaizen proposals approve`.

    Example: aegis kaizen commit p-1a2b3c4d
    """
    _act(name, "approve", reason, tenant, json=json)


COMMANDS = (commit, later, never, rollback)
"""Those that `aegis kaizen` has itself, too."""


def _act(name: str, act: str, reason: str, tenant: str | None, *, json: bool) -> None:
    wish = parse(ProposalAct, act=act, reason=reason)

    async def work(governor: Governor) -> PolicyProposal:
        return await governor.port.proposals.act(name, wish, author=whoami())

    _print(with_governor(tenant, work), json=json)


def _line(each: PolicyProposal) -> None:
    stdout_console().print(f"{each.proposal_id}  {shown(state_of(each))}  {shown(each.title)}")


def state_of(each: PolicyProposal) -> str:
    """The state in a few words."""
    share = f" {each.canary.percent} %" if each.state == "canary" and each.canary else ""
    return f"{each.state.replace('_', ' ')}{share}"


def _print(each: PolicyProposal, *, json: bool) -> None:
    if json:
        print_json(each)
        return
    console = stdout_console()
    _line(each)
    if each.why:
        console.print(f"  {shown(each.why)}")
    console.print(f"  policy {each.parent}, changed by: {shown(plain_json.dumps(each.rules, ensure_ascii=False))}")
    if (test := each.backtest) is not None:
        console.print(
            f"  backtest: {test.requests:,} requests, of {test.granted:,} granted {test.refused:,} would be refused, "
            f"{test.differing:,} answers differ"
        )
        for line in test.changed[:10]:
            console.print(f"    {shown(line)}")
    if (seen := each.canary) is not None:
        console.print(f"  canary: {seen.changed:,} sessions with it, {seen.unchanged:,} without; {saving_of(each)}")
    if each.state == "kept" and (file := load_settings().policy_file) is not None:
        console.print(f"  {shown(str(file))} is put in force at each start: put these rules into it, too.")


def saving_of(each: PolicyProposal) -> str:
    """What a canary saved, in words."""
    seen = each.canary
    if seen is None or seen.saving_usd is None:
        return "what it saves is not known"
    return f"saved ${seen.saving_usd:,.6f} ({seen.low_usd:,.6f} to {seen.high_usd:,.6f}) against those without"
