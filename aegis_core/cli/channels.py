"""``aegis channels run|test|ids``: where operators are asked for approvals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, print_json, say, stdout_console
from aegis_core.connect import with_overrides
from aegis_core.errors import ConfigurationError
from aegis_core.masking import visible

if TYPE_CHECKING:
    from aegis_core.channels.channel import Channel
    from aegis_core.governor import ResourceGovernor
    from aegis_core.store.ledger import Ledger

_T = TypeVar("_T")
_Work = Callable[["Sequence[Channel]", "ResourceGovernor", "Ledger"], Awaitable[_T]]

app = typer.Typer(help="Where operators are asked: Telegram, and a signed webhook.", no_args_is_help=True)

_NONE = (
    "No channel is configured. For Telegram set AEGIS_TELEGRAM_TOKEN, AEGIS_TELEGRAM_CHAT_ID and "
    "AEGIS_TELEGRAM_OPERATORS; for a webhook AEGIS_APPROVAL_WEBHOOK_URL and AEGIS_APPROVAL_WEBHOOK_SECRET."
)


@app.command()
def run(tenant: TenantOption = None) -> None:
    """Serve the channels until interrupted, apart from the HTTP API. `aegis serve` serves them too; one of both does.

    Example: aegis channels run
    """
    from aegis_core.channels.runner import running

    async def work(channels: Sequence[Channel], governor: ResourceGovernor, ledger: Ledger) -> None:
        async with running(channels, governor.approvals, ledger):
            say(f"serving {', '.join(one.name for one in channels)} for the tenant {ledger.tenant}")
            await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(_opened(tenant, work))


@app.command("test")
def send_test(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Send a test message over each channel. Exit code 1 when one of them fails.

    Example: aegis channels test
    """
    from aegis_core.channels.channel import ChannelError

    async def work(channels: Sequence[Channel], _: ResourceGovernor, __: Ledger) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for channel in channels:
            try:
                found.append({"channel": channel.name, "ok": True, "text": await channel.test()})
            except ChannelError as error:
                found.append({"channel": channel.name, "ok": False, "text": error.message})
            finally:
                await channel.aclose()
        return found

    found = asyncio.run(_opened(tenant, work))
    if json:
        print_json(found)
    else:
        console = stdout_console()
        for row in found:
            console.print("✓" if row["ok"] else "✗", row["channel"], visible(row["text"]), markup=False)
    if not all(row["ok"] for row in found):
        raise typer.Exit(1)


@app.command()
def ids(json: JsonFlag = False) -> None:
    """List the chats and people that wrote to the Telegram bot lately, with their ids, for the settings.

    Write /start to the bot first. Needs AEGIS_TELEGRAM_TOKEN alone.

    Example: aegis channels ids
    """
    settings = with_overrides(None)
    if settings.telegram_token is None:
        raise ConfigurationError("AEGIS_TELEGRAM_TOKEN is missing; @BotFather gives one.")
    try:
        from aegis_core.channels.telegram_ids import recent
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The channel telegram needs the extra `telegram` ({error.name} is missing): "
            "pip install 'aegis-governor[telegram]'"
        ) from None
    found = asyncio.run(recent(settings.telegram_token.get_secret_value(), settings.telegram_api_url))
    if json:
        print_json(found)
        return
    console = stdout_console()
    for row in found:
        console.print(visible(f"chat {row.chat_id} ({row.chat}), user {row.user_id} ({row.user})"), markup=False)
    if not found:
        say("nobody wrote to the bot lately; write /start to it, and run this again")


async def _opened(tenant: str | None, work: _Work[_T]) -> _T:
    from aegis_core.channels.listed import configured, open_channels
    from aegis_core.connect import open_governor
    from aegis_core.store.ledger import Ledger
    from aegis_core.store.store import open_store

    settings = with_overrides(None, tenant=tenant)
    if not settings.is_embedded and settings.url.startswith(("http://", "https://")):
        raise ConfigurationError("This command reads the store itself; point AEGIS_URL at the governor's Redis.")
    if not configured(settings):
        raise ConfigurationError(_NONE)
    store = await open_store(settings)
    try:
        governor = await open_governor(store, settings)
        try:
            ledger = Ledger(store, settings.tenant)
            return await work(open_channels(settings, governor, ledger), governor, ledger)
        finally:
            await governor.aclose()
    finally:
        await store.aclose()
