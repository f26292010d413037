"""``aegis events``: every decision as it is made."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from aegis_core.agent import Governor
from aegis_core.budgets import budget_name, window_name
from aegis_core.cli.common import JsonFlag, TenantOption, json_line, shown, with_governor
from aegis_core.protocol import Event

_COLOURS = {
    "granted": "green", "pending": "yellow", "rejected": "red", "overrun": "red", "expired": "yellow",
    "timed_out": "red", "budget_crossed": "yellow",
}  # fmt: skip


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and show each event as it happens.")] = False,
    after: Annotated[str | None, typer.Option(help="Only events after this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest to show first.")] = 50,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show decisions, settlements, expiries and acts of operators, oldest first.

    Example: aegis events --follow --json | jq 'select(.kind == "rejected")'
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)

    def show(event: Event) -> None:
        if json:
            sys.stdout.write(json_line(event) + "\n")
            sys.stdout.flush()
        else:
            console.print(_line(event))

    async def work(governor: Governor) -> None:
        last = after or "0"
        newest = await governor.events(after=last, limit=limit) if after else await governor.latest_events(limit)
        for event in newest:
            show(event)
            last = event.id
        if follow:
            async for event in governor.follow(after=last if newest or after else "$"):
                show(event)

    with_governor(tenant, work)


def _line(event: Event) -> str:
    facts = event.facts
    request: dict[str, Any] = facts.get("request", {})
    details: list[str] = []
    if "amount_usd" in facts:
        details.append(f"${facts['amount_usd']:.6g}")
    if event.kind in {"settled", "overrun", "expired"}:
        details.append(f"charged ${facts['charged_usd']:.6g}")
    if event.kind in {"budget_set", "budget_crossed"}:
        details += [f"{budget_name(facts['owner'])} {window_name(facts['window'])}", f"limit ${facts['limit_usd']:.6g}"]
    if facts.get("percent"):
        details.append(f"{facts['percent']} % committed")
    details += [shown(facts[name]) for name in ("recommended_model", "rule", "reason", "by") if facts.get(name)]
    if facts.get("code") not in {None, "ok", "escalated", "policy"}:
        details.append(facts["code"])
    if request.get("intent"):
        details.append(f"[dim]“{shown(request['intent'])[:80]}”[/]")
    colour = _COLOURS.get(event.kind, "cyan")
    who = shown(event.agent_id or "-")
    return f"[dim]{event.at:%H:%M:%S}[/] [{colour}]{event.kind:14}[/] {who:24} {' · '.join(details)}"
