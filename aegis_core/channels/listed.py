"""The channels there are: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from aegis_core.channels.channel import Channel, Pace
from aegis_core.channels.telegram_settings import telegram_settings
from aegis_core.channels.webhook_settings import webhook_settings
from aegis_core.errors import ConfigurationError
from aegis_core.governor import ResourceGovernor
from aegis_core.settings import Settings
from aegis_core.store.ledger import Ledger


def _telegram(plan: Any, governor: ResourceGovernor, ledger: Ledger, pace: Pace) -> Channel:
    from aegis_core.channels.telegram import TelegramChannel

    return TelegramChannel(plan, governor, ledger, pace=pace)


def _webhook(plan: Any, _: ResourceGovernor, ledger: Ledger, pace: Pace) -> Channel:
    from aegis_core.channels.webhook import WebhookChannel

    return WebhookChannel(plan, tenant=ledger.tenant, pace=pace)


@dataclass(frozen=True, slots=True)
class Listed:
    """A channel: how its settings are read (None: it is not configured), how it is opened, and what it needs."""

    name: str
    read: Callable[[Settings], Any]
    open: Callable[[Any, ResourceGovernor, Ledger, Pace], Channel]
    module: str = ""
    """A package that only an extra of the channel's name brings."""


CHANNELS = (
    Listed("telegram", telegram_settings, _telegram, "aiogram"),
    Listed("webhook", webhook_settings, _webhook),
)


def configured(settings: Settings) -> dict[str, Any]:
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


def open_channels(
    settings: Settings, governor: ResourceGovernor, ledger: Ledger, *, pace: Pace | None = None
) -> list[Channel]:
    """Every configured channel. Loading one may take seconds: call it before anybody waits, or in a thread.

    Raises:
        ConfigurationError: as `configured`.
    """
    plans = configured(settings)
    return [one.open(plans[one.name], governor, ledger, pace or Pace()) for one in CHANNELS if one.name in plans]
