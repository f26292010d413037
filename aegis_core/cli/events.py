"""``aegis events``: every decision as it is made."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    dollars,
    json_line,
    stdout_console,
    with_governor,
)
from aegis_core.client.agent import Governor
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.masking import visible
from aegis_core.protocol.messages import Event
from aegis_core.protocol.windows import window_name

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_COLOURS = {
    "granted": "green", "pending": "yellow", "rejected": "red", "refusals_repeated": "red", "overrun": "red",
    "expired": "yellow",
    "timed_out": "red", "budget_crossed": "red", "budget_reserved": "yellow",
    "budget_forecast": "yellow", "estimates_high": "yellow",
}  # fmt: skip
_CHARGED = {"settled", "overrun", "expired", "estimates_high", "refunded"}
_SHARES = {"budget_crossed": "spent", "estimates_high": "estimated"}
_AMOUNTS = {
    "amount_usd": "{}", "most_usd": "up to {}", "charged_usd": "charged {}", "refund_usd": "{} taken back",
    "limit_usd": "limit {}", "committed_usd": "{} committed",
    "spent_usd": "{} spent", "last_hour_usd": "{} in the last hour", "estimated_usd": "{} estimated",
    "session_budget_usd": "session budget {}", "tenant_day_usd": "{} a day",
}  # fmt: skip
_ID = re.compile(r"\d{1,15}(-\d{1,15})?")


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and show each event as it happens.")] = False,
    after: Annotated[str | None, typer.Option(help="Only those after the event of this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show first.")] = 50,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show decisions, settlements, expiries and acts of operators, oldest first. Times are UTC.

    Example: aegis events --follow --json | jq 'select(.kind == "rejected")'
    """
    if after is not None and not _ID.fullmatch(after):
        raise InvalidRequestError(f"after: {after!r} is not the id of an event, such as 1795385013802-0", field="after")
    console = stdout_console()

    def show(event: Event) -> None:
        if json:
            sys.stdout.write(json_line(event) + "\n")
            sys.stdout.flush()
        else:
            console.print(_row(event) if console.is_terminal else _line(event), soft_wrap=not console.is_terminal)

    async def work(governor: Governor) -> None:
        last = after or "0"
        for event in await (governor.events(after=after, limit=limit) if after else governor.latest_events(limit)):
            show(event)
            last = event.id
        if follow:
            async for event in governor.follow(after=last):
                show(event)

    with_governor(tenant, work)


def _row(event: Event) -> Table:
    """For a terminal: what does not fit goes on below itself."""
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 1))
    row.add_column(no_wrap=True)
    row.add_column(no_wrap=True, min_width=14)
    row.add_column(overflow="fold")
    who = [visible(event.agent_id)] if event.agent_id else []
    text = Text(" · ".join([*who, *_details(event)]))
    at, kind = Text(f"{event.at:%m-%d %H:%M:%S}", "dim"), Text(visible(event.kind), _COLOURS.get(event.kind, "cyan"))
    row.add_row(at, kind, text)
    return row


def _line(event: Event) -> Text:
    """For a pipe: one line, in columns that text tools can cut."""
    from rich.text import Text

    said = f"{event.at:%Y-%m-%dT%H:%M:%SZ} {visible(event.kind):14} {visible(event.agent_id or '-')}"
    return Text(" · ".join([said, *_details(event)]))


def _details(event: Event) -> Iterator[str]:
    """What an event says beyond when, what and who, as harmless text."""
    facts = event.facts
    if owner := facts.get("owner"):
        from aegis_core.governor.budgets import budget_name  # with it comes redis, which --help can do without

        yield visible(f"{budget_name(owner)} {window_name(facts['window'])}")
    if count := facts.get("count"):
        yield f"{count:,} more from {facts['since'][11:19]} to {facts['until'][11:19]}"
    yield from _money(event)
    if percent := facts.get("percent"):
        yield f"{percent} % {_SHARES.get(event.kind, 'committed')}"
    if gone := facts.get("gone_at"):
        yield f"gone at {gone[11:16]}"
    if event.kind == "extended" and "deadline" in facts:
        yield f"until {facts['deadline'][11:19]}"
    if model := facts.get("recommended_model") or facts.get("model"):
        yield visible(model)
    if rule := facts.get("rule"):
        yield visible(f"{rule}: {facts['reason']}" if facts.get("reason") else rule)
    elif facts.get("code") not in {None, "ok"}:
        yield visible(facts["code"]).replace("_", " ")
    if event.kind.startswith("lock_"):
        yield from _lock(facts)
    if event.kind == "refusals_repeated":
        yield from (visible(str(facts[name])) for name in ("tool", "target_resource", "capability") if name in facts)
    yield from _operator(event)
    request: dict[str, Any] = facts.get("request", {})
    if intent := request.get("intent"):
        short = visible(intent[:100])
        yield f"“{short}…”" if len(intent) > 100 else f"“{short}”"


def _money(event: Event) -> Iterator[str]:
    for name, words in _AMOUNTS.items():
        amount = event.facts.get(name)
        if isinstance(amount, int | float) and (name != "charged_usd" or event.kind in _CHARGED):
            yield words.format(dollars(Decimal(repr(amount))))


def _lock(facts: dict[str, object]) -> Iterator[str]:
    yield visible(facts["resource"])
    if fence := facts.get("fence"):
        yield f"fence {fence}"
    for name, words in (("waited_seconds", "waited"), ("held_seconds", "held")):
        if facts[name]:
            yield f"{words} {facts[name]:.1f} s"
    because = facts.get("because_of")
    if isinstance(because, str):
        yield visible(f"because of {because}")
    elif because is not None:
        yield f"{because} in the queue"


def _operator(event: Event) -> Iterator[str]:
    facts = event.facts
    if labels := facts.get("labels"):
        yield visible(" ".join(labels))
    if framework := facts.get("framework"):
        yield visible(framework)
    if event.kind == "policy_published":
        yield visible(f"version {facts['policy_version']}")
    if event.kind == "prices_changed":
        yield visible(f"{facts['version']}, before {facts['before']}")
    if zone := facts.get("timezone"):
        yield visible(zone)
    if by := facts.get("by") or facts.get("decided_by"):
        yield visible(f"by {by}")
