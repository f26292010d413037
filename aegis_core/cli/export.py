"""``aegis export jsonl``: events into files, for whoever keeps them longer or reads them elsewhere."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from aegis_core.cli.common import TenantOption, say, settings_of, with_governor
from aegis_core.client.agent import Governor
from aegis_core.observe.export import ExportFile, Lines, Output, export
from aegis_core.protocol.events import EventQuery
from aegis_core.protocol.parsing import parse

app = typer.Typer(help="Events into files.", no_args_is_help=True)
_Text = str | None


@app.callback()
def exports() -> None:
    """Events into files."""


@app.command()
def jsonl(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; its place is kept in FILE.cursor. Default: stdout.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and write each event as it happens.")] = False,
    since: Annotated[_Text, typer.Option(help="From then on: 03:00, 2026-11-30T03:00, or 15m, 2h, 7d ago.")] = None,
    kind: Annotated[_Text, typer.Option(help="Of this kind; several with commas.")] = None,
    agent: Annotated[_Text, typer.Option(help="Of this agent.")] = None,
    code: Annotated[_Text, typer.Option(help="With this code; several with commas.")] = None,
    tenant: TenantOption = None,
) -> None:
    """Write events as JSON lines, as the HTTP API says them. A file goes on where it ended, each event once.

    `aegis forget` does not reach files: they hold what agents wrote for as long as you keep them.

    Example: aegis export jsonl --output events.jsonl --follow
    """
    said = {"since": since, "kind": kind, "agent": agent, "code": code}
    wanted = parse(EventQuery, **{name: value for name, value in said.items() if value is not None})

    async def work(governor: Governor) -> int:
        written = 0
        with _opened(output, settings_of(tenant).tenant) as place:
            async for step in export(governor.port.find_events, wanted, place, follow=follow):
                written += step.written
                if step.trimmed:
                    say("some events were gone before they were exported; their numbers are missing")
        return written

    written = with_governor(tenant, work)
    if output is not None:
        say(f"{written:,} events written to {output}")


@contextmanager
def _opened(output: Path | None, tenant: str) -> Generator[Output]:
    if output is None:
        yield Lines()
        return
    with ExportFile(output, tenant) as file:
        yield file
