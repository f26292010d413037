"""``aegis events``: every decision as it is made."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, cast

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
from aegis_core.protocol.events import Event, EventQuery
from aegis_core.protocol.masking import visible
from aegis_core.protocol.parsing import parse
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


app = typer.Typer(invoke_without_command=True)
_Text = str | None


@app.callback(invoke_without_command=True)
def events(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and show each event as it happens.")] = False,
    after: Annotated[_Text, typer.Option(help="Only those after the event of this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show first.")] = 50,
    since: Annotated[_Text, typer.Option(help="From then on: 03:00, 2026-11-30T03:00, or 15m, 2h, 7d ago.")] = None,
    until: Annotated[_Text, typer.Option(help="Before then; as --since.")] = None,
    kind: Annotated[_Text, typer.Option(help="Of this kind; several with commas.")] = None,
    agent: Annotated[_Text, typer.Option(help="Of this agent.")] = None,
    session: Annotated[_Text, typer.Option(help="Of this session.")] = None,
    code: Annotated[_Text, typer.Option(help="With this code; several with commas.")] = None,
    rule: Annotated[_Text, typer.Option(help="In which this rule matched.")] = None,
    model: Annotated[_Text, typer.Option(help="About this model.")] = None,
    order: Annotated[_Text, typer.Option(help="asc, or desc for the newest first.")] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show decisions, settlements, expiries and acts of operators, oldest first. Times are UTC.

    Without a time or an id to begin with, these are the newest.

    Example: aegis events --since 2h --code budget_exceeded --json
    """
    if context.invoked_subcommand is not None:
        return
    if after is not None and not _ID.fullmatch(after):
        raise InvalidRequestError(f"after: {after!r} is not the id of an event, such as 1795385013802-0", field="after")
    if follow and (until or order == "desc"):
        raise InvalidRequestError("follow: has no end, so neither --until nor --order desc", field="follow")
    said = {
        "since": since, "until": until, "kind": kind, "agent": agent, "session": session, "code": code, "rule": rule,
        "model": model,
    }  # fmt: skip
    query = parse(EventQuery, **{name: value for name, value in said.items() if value is not None})
    from_start = after is not None or since is not None or order == "asc"
    newest_first = order == "desc" or not from_start
    query = parse(EventQuery, **query.model_dump() | {"order": "desc" if newest_first else order or "asc"})
    show = _shown(json)

    async def work(governor: Governor) -> None:
        found, last = await _pages(governor, query, after, limit)
        for event in reversed(found) if newest_first and order is None else found:
            show(event)
            last = event.id
        if follow:
            async for event in governor.follow(after=last or "$"):
                if query.matches(event):
                    show(event)

    with_governor(tenant, work)


@app.command()
def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="The id of an event, as `aegis events --json` has it.")],
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show one event whole: of a decision its budgets, the rules that matched, the models weighed, and what came of it.

    Example: aegis events show 1795385013802-0
    """

    async def work(governor: Governor) -> None:
        event = await governor.port.event(event_id)
        later = await _what_came_of(governor, event)
        if json:
            sys.stdout.write(json_line({"event": event, "later": later}) + "\n")
            return
        stdout_console().print(_page(event, later), soft_wrap=True, end="")

    with_governor(tenant, work)


async def _pages(governor: Governor, query: EventQuery, after: str | None, most: int) -> tuple[list[Event], str | None]:
    """The first so many events of a query, and where the last page ended."""
    found: list[Event] = []
    while len(found) < most:
        page = await governor.port.find_events(
            query.model_copy(update={"after": after, "limit": min(500, most - len(found))})
        )
        if page.trimmed:
            typer.echo("Some events after that one are kept no longer.", err=True)
        found += page.events
        after = page.next
        if not page.more:
            break
    return found, None if query.order == "desc" else after


async def _what_came_of(governor: Governor, event: Event) -> list[Event]:
    """The later events about the same request."""
    if event.agent_id is None or "grant_id" not in event.facts:
        return []
    query = EventQuery(agent=event.agent_id, after=event.id)
    found, _ = await _pages(governor, query, event.id, 10_000)
    return [each for each in found if each.facts.get("grant_id") == event.facts["grant_id"]]


def _shown(json: bool) -> Callable[[Event], None]:
    console = stdout_console()

    def show_one(event: Event) -> None:
        if json:
            sys.stdout.write(json_line(event) + "\n")
            sys.stdout.flush()
        else:
            console.print(_row(event) if console.is_terminal else _line(event), soft_wrap=not console.is_terminal)

    return show_one


def _page(event: Event, later: list[Event]) -> Text:
    """One event, a fact a line; what lies within a fact is indented."""
    from rich.text import Text

    lines = [f"{event.at:%Y-%m-%d %H:%M:%S} UTC  {event.kind}  {event.agent_id or '-'}  (event {event.number or '?'})"]
    lines += _facts(event.facts, "  ")
    if later:
        lines += ["later:", *(f"  {_line(each).plain}" for each in later)]
    return Text("".join(f"{visible(line)}\n" for line in lines))


def _facts(facts: dict[str, Any], indent: str) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _facts(cast("dict[str, Any]", value), indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{indent}{name}:"
            for each in cast("list[dict[str, Any]]", value):
                yield indent + "  " + "  ".join(f"{key} {part}" for key, part in each.items())
        else:
            text = ", ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else value
            yield f"{indent}{name}: {text}"


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
    yield from _stop(facts)
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


def _stop(facts: dict[str, Any]) -> Iterator[str]:
    stop = facts.get("stopped_by", {})
    if stop.get("unit") == "usd":
        left, limit = (dollars(Decimal(repr(stop[name]))) for name in ("left", "limit"))
        yield visible(f"{left} of {limit} left of {stop['name']} {stop.get('window', '')}".strip())


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
