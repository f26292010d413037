"""``aegis usage``: the bill by agent, model, resource type, day or label."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, dollars, print_json, shown, with_resources
from aegis_core.errors import InvalidRequestError
from aegis_core.usage import UsageTotal, total_by


def usage(
    by: Annotated[str, typer.Option(help="agent, model, resource, day, or the name of a label such as team")] = "agent",
    since: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD; default: the first of this month.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day, YYYY-MM-DD; default: today.")] = None,
    csv_: Annotated[bool, typer.Option("--csv", help="CSV on stdout, for a spreadsheet.")] = False,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what was charged, summed by one name.

    Example: aegis usage --by team --since 2026-11-01 --csv > bill.csv
    """
    last = _day(until, "until") or datetime.now(UTC).date() + timedelta(days=1)
    first = _day(since, "since") or datetime.now(UTC).date().replace(day=1)
    if first > last or (last - first).days > 400:
        raise InvalidRequestError("since: must lie at most 400 days before --until", field="since")
    days = [first + timedelta(days=count) for count in range((last - first).days + 1)]
    totals = total_by(with_resources(tenant, lambda governor: governor.usage(days)), by)
    if json:
        print_json(totals)
    elif csv_:
        write_csv(by, totals)
    else:
        _table(by, totals)


def write_csv(by: str, totals: list[UsageTotal]) -> None:
    """CSV on stdout; a name that a spreadsheet would take for a formula is quoted with an apostrophe."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((by, "calls", "cost_usd"))
    for total in totals:
        name = f"'{total.name}" if total.name[:1] in {"=", "+", "-", "@", "\t", "\r"} else total.name
        writer.writerow((name, total.calls, f"{total.cost_usd:f}"))


def _table(by: str, totals: list[UsageTotal]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(by, box=None, header_style="bold", show_footer=bool(totals))
    table.columns[0].footer = "total"
    calls, cost = sum(total.calls for total in totals), sum((total.cost_usd for total in totals), start=Decimal(0))
    table.add_column("calls", justify="right", footer=f"{calls:,}")
    table.add_column("charged", justify="right", footer=dollars(cost))
    for total in totals:
        table.add_row(shown(total.name), f"{total.calls:,}", dollars(total.cost_usd))
    Console().print(table if totals else "Nothing was charged in these days.")


def _day(text: str | None, field: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(f"{field}: {text!r} is not a day; give YYYY-MM-DD", field=field) from None
