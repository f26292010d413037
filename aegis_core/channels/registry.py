"""The channels there are: every folder beside this module is one, and says by its `CHANNEL` what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from aegis_core import channels as room
from aegis_core.channels.channel import Channel, ChannelType
from aegis_core.channels.runner import running
from aegis_core.connect import open_governor, open_store
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.repricing import watched_prices
from aegis_core.governor.tenant import ChannelHealth, TenantStore
from aegis_core.observe.pace import Pace
from aegis_core.protocol.distribution import installing
from aegis_core.protocol.errors import ConfigurationError
from aegis_core.settings import Settings

CHANNELS: dict[str, ChannelType] = {
    found.name: import_module(f"{room.__name__}.{found.name}").CHANNEL
    for found in iter_modules(room.__path__)
    if found.ispkg
}
"""Every channel by its name, which is that of its folder."""


def configured(settings: Settings) -> dict[str, object]:
    """The plans of the channels that the settings ask for, by name.

    Raises:
        ConfigurationError: one is configured by halves, or needs an extra that is not installed.
    """
    plans = {name: plan for name, one in CHANNELS.items() if (plan := one.read(settings)) is not None}
    for name in plans:
        if (module := CHANNELS[name].module) and find_spec(module) is None:
            raise missing_extra(name, module)
    return plans


async def channels_health(store: TenantStore) -> list[ChannelHealth]:
    """How each channel is that is served, or was lately, by whichever process."""
    found = [await store.channel_store(name).health() for name in CHANNELS]
    return [one for one in found if one.served or one.sending or one.hearing]


def missing_extra(name: str, module: str) -> ConfigurationError:
    """The error that names the extra which a channel needs."""
    return ConfigurationError(f"The channel {name} needs the extra `{name}` ({module} is missing): {installing(name)}")


def open_channels(settings: Settings, governor: ResourceGovernor, *, pace: Pace | None = None) -> list[Channel]:
    """Every configured channel. Loading one may take seconds: call it before anybody waits, or in a thread.

    Raises:
        ConfigurationError: as `configured`.
    """
    plans = configured(settings)
    return [CHANNELS[name].open(plan, governor, pace or Pace()) for name, plan in plans.items()]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[tuple[list[Channel], ResourceGovernor]]:
    """The configured channels, on a connection of their own, and what `running` needs besides.

    Raises:
        ConfigurationError: none is configured, one is so by halves, or the settings name a remote governor.
    """
    if not settings.is_embedded and settings.url.startswith(("http://", "https://")):
        raise ConfigurationError("Channels read the store itself; point AEGIS_URL at the governor's Redis.")
    if not configured(settings):
        ways = "; ".join(f"for {one.title} set {_listed(one.variables)}" for one in CHANNELS.values())
        raise ConfigurationError(f"No channel is configured: {ways}.")
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
    async with opened(settings) as (channels, governor), running(channels, governor, alerts=settings.alerts_per_hour):
        yield [channel.name for channel in channels]


def _listed(names: tuple[str, ...]) -> str:
    """As people list them: ``A, B and C``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
