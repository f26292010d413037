"""The channels there are: one line each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from aegis_core.channels.channel import Channel, Pace
from aegis_core.channels.runner import running
from aegis_core.channels.telegram.settings import telegram_settings
from aegis_core.channels.webhook.settings import webhook_settings
from aegis_core.connect import open_governor, open_store
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.repricing import watched_prices
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.settings import Settings


def _telegram(plan: Any, governor: ResourceGovernor, pace: Pace) -> Channel:
    from aegis_core.channels.telegram.channel import TelegramChannel

    return TelegramChannel(plan, governor, pace=pace)


def _webhook(plan: Any, governor: ResourceGovernor, pace: Pace) -> Channel:
    from aegis_core.channels.webhook.channel import WebhookChannel

    return WebhookChannel(plan, tenant=governor.tenant, pace=pace)


@dataclass(frozen=True, slots=True)
class Listed:
    """A channel: how its settings are read (None: it is not configured), how it is opened, and what it needs."""

    name: str
    read: Callable[[Settings], object]
    open: Callable[[object, ResourceGovernor, Pace], Channel]
    module: str = ""
    """A package that only an extra of the channel's name brings."""


CHANNELS = (
    Listed("telegram", telegram_settings, _telegram, "aiogram"),
    Listed("webhook", webhook_settings, _webhook),
)


def configured(settings: Settings) -> dict[str, object]:
    """The plans of the channels that the settings ask for, by name.

    Raises:
        ConfigurationError: one is configured by halves, or needs an extra that is not installed.
    """
    plans = {one.name: plan for one in CHANNELS if (plan := one.read(settings)) is not None}
    for one in CHANNELS:
        if one.name in plans and one.module and find_spec(one.module) is None:
            raise ConfigurationError(
                f"The channel {one.name} needs the extra `{one.name}` ({one.module} is missing): "
                f"pip install 'aegis-governor[{one.name}]'"
            )
    return plans


def open_channels(settings: Settings, governor: ResourceGovernor, *, pace: Pace | None = None) -> list[Channel]:
    """Every configured channel. Loading one may take seconds: call it before anybody waits, or in a thread.

    Raises:
        ConfigurationError: as `configured`.
    """
    plans = configured(settings)
    return [one.open(plans[one.name], governor, pace or Pace()) for one in CHANNELS if one.name in plans]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[tuple[list[Channel], ResourceGovernor]]:
    """The configured channels, on a connection of their own, and what `running` needs besides.

    Raises:
        ConfigurationError: none is configured, one is so by halves, or the settings name a remote governor.
    """
    if not settings.is_embedded and settings.url.startswith(("http://", "https://")):
        raise ConfigurationError("Channels read the store itself; point AEGIS_URL at the governor's Redis.")
    if not configured(settings):
        raise ConfigurationError(
            "No channel is configured. For Telegram set AEGIS_TELEGRAM_TOKEN, AEGIS_TELEGRAM_CHAT_ID and "
            "AEGIS_TELEGRAM_OPERATORS; for a webhook AEGIS_APPROVAL_WEBHOOK_URL and AEGIS_APPROVAL_WEBHOOK_SECRET."
        )
    store = await open_store(settings)
    try:
        governor = await open_governor(store, settings)
        try:
            channels = await asyncio.to_thread(open_channels, settings, governor)
            async with watched_prices(settings, governor.arbiter, governor.operator):
                yield channels, governor
        finally:
            await governor.aclose()
    finally:
        await store.aclose()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncGenerator[list[str]]:
    """Serve the configured channels until the block ends; answers their names. Raises as `opened` does."""
    async with opened(settings) as (channels, governor), running(channels, governor):
        yield [channel.name for channel in channels]
