"""Approvals in a Telegram chat: announced by a bot, decided with its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis_core.channels.channel import ChannelType
from aegis_core.channels.telegram.settings import TelegramSettings, telegram_settings
from aegis_core.observe.pace import Pace
from aegis_core.settings import Settings

if TYPE_CHECKING:
    from aegis_core.channels.telegram.channel import TelegramChannel
    from aegis_core.governor.governor import ResourceGovernor


def _open(plan: TelegramSettings, governor: ResourceGovernor, pace: Pace) -> TelegramChannel:
    from aegis_core.channels.telegram.channel import TelegramChannel

    return TelegramChannel(plan, governor, pace=pace)


def _posted_to(settings: Settings) -> bool:
    return settings.telegram_token is not None and settings.telegram_webhook_url is not None


CHANNEL = ChannelType(
    "Telegram",
    ("AEGIS_TELEGRAM_TOKEN", "AEGIS_TELEGRAM_CHAT_ID", "AEGIS_TELEGRAM_OPERATORS"),
    telegram_settings,
    _open,
    "aiogram",
    _posted_to,
)
