"""``aegis usage``: the bill by agent, model, resource type, day or label."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    dollars,
    print_json,
    say,
    shown,
    stdout_console,
    with_resources,
)
from aegis_core.governor.usage import UsageTotal, total_by
from aegis_core.protocol.errors import InvalidRequestError

_NAMES = {"agent", "model", "resource", "day"}
_MAX_DAYS = 400


def usage(
    by: Annotated[str, typer.Option(help="agent, model, resource, day, or the name of a label such as team")] = "agent",
    since: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD; default: the first of the month.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day, YYYY-MM-DD; default: today.")] = None,
    csv_: Annotated[bool, typer.Option("--csv", help="CSV on stdout, for a spreadsheet.")] = False,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what was charged, summed by one name.

    Example: aegis usage --by team --since 2026-11-01 --csv > bill.csv
    """
    if csv_ and json:
        raise InvalidRequestError("--csv and --json cannot both have standard output; give one", field="json")
    days = _days(since, until)
    rows = with_resources(tenant, lambda governor: governor.usage(days))
    if rows and by not in _NAMES and not any(by in row.labels for row in rows):
        say(f"nothing charged in these days carries a label {by!r}")
    totals = total_by(rows, by)
    if json:
        print_json(totals)
    elif csv_:
        write_csv(by, totals)
    else:
        _table(by, totals)


def write_csv(by: str, totals: list[UsageTotal]) -> None:
    """CSV on stdout; a name that a spreadsheet would take for a formula is quoted with an apostrophe."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((by, "calls", "cost_usd", "estimated_usd"))
    for total in totals:
        name = f"'{total.name}" if total.name[:1] in {"=", "+", "-", "@", "\t", "\r"} else total.name
        writer.writerow((name, total.calls, f"{total.cost_usd:f}", f"{total.estimated_usd:f}"))


def _table(by: str, totals: list[UsageTotal]) -> None:
    from rich.table import Table

    console = stdout_console()
    if not totals:
        console.print("Nothing was charged in these days.")
        return
    calls, cost = sum(total.calls for total in totals), sum((total.cost_usd for total in totals), start=Decimal(0))
    table = Table(box=None, header_style="bold", footer_style="bold", pad_edge=False, show_footer=True)
    table.add_column(shown(by), overflow="fold", footer="total")
    table.add_column("calls", justify="right", no_wrap=True, footer=f"{calls:,}")
    table.add_column("charged", justify="right", no_wrap=True, footer=dollars(cost))
    estimated = sum((total.estimated_usd for total in totals), start=Decimal(0))
    if estimated:  # of calls whose answer was lost or carried no usage
        table.add_column("estimated", justify="right", no_wrap=True, footer=dollars(estimated))
    for total in totals:
        row = [shown(total.name), f"{total.calls:,}", dollars(total.cost_usd)]
        table.add_row(*row, *([dollars(total.estimated_usd)] if estimated else []))
    console.print(table)


def _days(since: str | None, until: str | None) -> list[date]:
    """Both ends included. Days are the tenant's, which may be a day ahead of UTC."""
    today = datetime.now(UTC).date()
    last = _day(until, "until") or today + timedelta(days=1)
    first = _day(since, "since") or min(last, today).replace(day=1)
    if first > last:
        raise InvalidRequestError(f"since: {first} lies after the last day, {last}", field="since")
    if (last - first).days > _MAX_DAYS:
        raise InvalidRequestError(f"since: {first} lies more than {_MAX_DAYS} days before {last}", field="since")
    return [first + timedelta(days=count) for count in range((last - first).days + 1)]


def _day(text: str | None, field: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(f"{field}: {text!r} is not a day; give YYYY-MM-DD", field=field) from None
