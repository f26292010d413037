"""``aegis webhooks list|test|replay|run``: who is told of events, and what they did not take."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, print_json, say, settings_of, stdout_console, with_resources
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.masking import visible

if TYPE_CHECKING:
    from aegis_core.governor.delivering import DeadLetter, DeliveryState
    from aegis_core.governor.governor import ResourceGovernor

app = typer.Typer(help="Who is told of events, signed, in their order.", no_args_is_help=True)

_SHOWN = 10
Name = Annotated[str, typer.Argument(metavar="NAME", help="A webhook of AEGIS_EVENT_WEBHOOKS.")]


@app.command("list")
def list_webhooks(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show how each webhook is served, how far behind it is, and the events that it did not take.

    Example: aegis webhooks list --json
    """
    from aegis_core.observe.destinations import destinations

    known = {each.name: each.receiver.url for each in destinations(settings_of(tenant))}

    async def work(governor: ResourceGovernor) -> list[tuple[str, DeliveryState, list[DeadLetter]]]:
        deliveries = governor.tenant_store.deliveries
        names = sorted({*known, *await deliveries.names()})
        return [(name, await deliveries.state(name), await deliveries.dead_letters(name)) for name in names]

    found = with_resources(tenant, work)
    if json:
        print_json(
            [
                {"name": name, "url": known.get(name), **asdict(state), "dead_letters": letters}
                for name, state, letters in found
            ]
        )
        return
    console = stdout_console()
    for name, state, letters in found:
        console.print(visible(_line(name, known.get(name), state)), markup=False)
        for letter in letters[:_SHOWN]:
            said = f"event {letter.event_id} ({letter.kind}) after {letter.attempts} attempts: {letter.problem}"
            console.print(visible(f"  put aside {letter.at:%m-%d %H:%M} UTC: {said}"), markup=False)
        if len(letters) > _SHOWN:
            console.print(f"  … and {len(letters) - _SHOWN} more; --json has all", markup=False)
    if not found:
        say("no webhook is configured; see AEGIS_EVENT_WEBHOOKS in docs/observability.md")


@app.command("test")
def send_test(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Post a test message to each webhook; it is no event. Exit code 1 when one of them fails.

    Example: aegis webhooks test
    """
    from aegis_core.observe.destinations import destinations
    from aegis_core.observe.sender import post_test
    from aegis_core.protocol.errors import ChannelError

    settings = settings_of(tenant)
    if not (known := destinations(settings)):
        raise ConfigurationError("No webhook is configured; set AEGIS_EVENT_WEBHOOKS.", field="AEGIS_EVENT_WEBHOOKS")

    async def work() -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for each in known:
            try:
                found.append({"name": each.name, "ok": True, "text": await post_test(each, settings.tenant)})
            except ChannelError as error:
                found.append({"name": each.name, "ok": False, "text": error.message})
        return found

    found = asyncio.run(work())
    if json:
        print_json(found)
    else:
        for row in found:
            stdout_console().print("✓" if row["ok"] else "✗", row["name"], visible(row["text"]), markup=False)
    if not all(row["ok"] for row in found):
        raise typer.Exit(1)


@app.command()
def replay(
    name: Name,
    since: Annotated[
        str | None, typer.Option(help="All events from then on instead: 03:00, 2026-11-30T03:00, or 15m, 2h ago.")
    ] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Post again what a webhook did not take; or, with --since, let whoever serves it go back to a time.

    Receivers know repeats by their id. Exit code 1 when something was not taken this time, either.

    Example: aegis webhooks replay siem --since 2h
    """
    from aegis_core.observe.destinations import destination

    place = destination(name, settings_of(tenant))
    if since is not None:
        again = with_resources(tenant, lambda governor: governor.tenant_store.deliveries.go_back(name, since, by="cli"))
        answer: Any = {"name": name, "since": since, "events": again}
        print_json(answer) if json else say(f"{name} is told of {again:,} events again")
        return
    found = with_resources(tenant, lambda governor: governor.tenant_store.deliveries.replay(place, by="cli"))
    failed = [each for each in found if each.problem]
    if json:
        rows = [{"event_id": each.letter.event_id, "ok": not each.problem, "text": each.problem} for each in found]
        print_json({"name": name, "taken": len(found) - len(failed), "events": rows})
    else:
        for each in failed:
            say(f"event {each.letter.event_id}: {each.problem}")
        say(f"{name} took {len(found) - len(failed):,} of the events that were put aside")
    if failed:
        raise typer.Exit(1)


@app.command()
def run(tenant: TenantOption = None) -> None:
    """Serve the webhooks until interrupted, apart from the HTTP API. `aegis serve` serves them too; one of both does.

    Example: aegis webhooks run
    """
    from aegis_core.governor.delivering import senders
    from aegis_core.observe.sending import sending

    settings = settings_of(tenant)
    if not settings.event_webhooks:
        raise ConfigurationError("No webhook is configured; set AEGIS_EVENT_WEBHOOKS.", field="AEGIS_EVENT_WEBHOOKS")

    async def work(governor: ResourceGovernor) -> None:
        async with sending(senders(governor, settings)):
            say(f"serving {', '.join(sorted(settings.event_webhooks))} for the tenant {settings.tenant}")
            await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        with_resources(tenant, work)


def _line(name: str, url: str | None, state: DeliveryState) -> str:
    parts = [f"{name}  {url or 'not configured here'}"]
    if not state.cursor:
        parts.append("never served")
    else:
        parts += ["served" if state.served else "nobody serves it", f"{state.sent:,} sent", f"{state.behind:,} behind"]
    if state.problem and state.problem_since:
        parts.append(f"failing since {state.problem_since:%m-%d %H:%M} UTC: {state.problem}")
    if state.failing:
        parts.append(f"event {state.failing} tried {state.attempts} times")
    if state.dead:
        parts.append(f"{state.dead:,} put aside")
    return " · ".join(parts)
