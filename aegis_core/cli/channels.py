"""``aegis channels run|test|ids``: where operators are asked for approvals."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import typer

from aegis_core.cli.common import JsonFlag, TenantOption, print_json, say, settings_of, stdout_console
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.masking import visible

app = typer.Typer(help="Where operators are asked for approvals.", no_args_is_help=True)


@app.command()
def run(tenant: TenantOption = None) -> None:
    """Serve the channels until interrupted, apart from the HTTP API. `aegis serve` serves them too; one of both does.

    Example: aegis channels run
    """
    from aegis_core.channels.registry import serving

    settings = settings_of(tenant)

    async def work() -> None:
        async with serving(settings) as names:
            say(f"serving {', '.join(names)} for the tenant {settings.tenant}")
            await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(work())


@app.command("test")
def send_test(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Send a test message over each channel. Exit code 1 when one of them fails.

    Example: aegis channels test
    """
    from aegis_core.channels.registry import opened
    from aegis_core.protocol.errors import ChannelError

    async def work() -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        async with opened(settings_of(tenant)) as (channels, _):
            for channel in channels:
                try:
                    found.append({"channel": channel.name, "ok": True, "text": await channel.test()})
                except ChannelError as error:
                    found.append({"channel": channel.name, "ok": False, "text": error.message})
                finally:
                    await channel.aclose()
        return found

    found = asyncio.run(work())
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
    settings = settings_of()
    if settings.telegram_token is None:
        raise ConfigurationError("AEGIS_TELEGRAM_TOKEN is missing; @BotFather gives one.")
    try:
        from aegis_core.channels.telegram.ids import recent
    except ModuleNotFoundError as error:
        from aegis_core.channels.registry import missing_extra

        raise missing_extra("telegram", str(error.name)) from None
    found = asyncio.run(recent(settings.telegram_token.get_secret_value(), settings.telegram_api_url))
    if json:
        print_json(found)
        return
    console = stdout_console()
    for row in found:
        console.print(visible(f"chat {row.chat_id} ({row.chat}), user {row.user_id} ({row.user})"), markup=False)
    if not found:
        say("nobody wrote to the bot lately; write /start to it, and run this again")
