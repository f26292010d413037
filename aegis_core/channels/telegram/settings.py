"""What the Telegram channel needs to be told, apart from aiogram, which takes seconds to load."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass

from aegis_core.protocol.errors import ConfigurationError
from aegis_core.settings import Settings, read_operators

_TOKEN = re.compile(r"\d{3,20}:[A-Za-z0-9_-]{20,}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")


@dataclass(frozen=True, slots=True)
class TelegramSettings:
    """A bot, its chat (of a forum, the topic in it), and who may decide there."""

    token: str
    chat: int
    operators: dict[int, str]
    api_url: str
    webhook_url: str | None = None
    webhook_secret: str | None = None
    topic: int | None = None

    def webhook_secret_with(self, pepper: bytes) -> str:
        """What Telegram shows with every update that it posts."""
        return self.webhook_secret or hmac.digest(pepper, b"aegis telegram webhook", "sha256").hex()


def telegram_settings(settings: Settings) -> TelegramSettings | None:
    """The channel's part of the settings; None when there is no token.

    Raises:
        ConfigurationError: something is missing or cannot be right; the message says what and how to get it.
    """
    if settings.telegram_token is None:
        return None
    token = settings.telegram_token.get_secret_value()
    secret = settings.telegram_webhook_secret.get_secret_value() if settings.telegram_webhook_secret else None
    operators = read_operators(settings.telegram_operators)
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError("AEGIS_TELEGRAM_TOKEN is no bot token; @BotFather gives one, such as 123456:ABC-DEF…")
    if settings.telegram_chat_id is None:
        raise ConfigurationError(
            "AEGIS_TELEGRAM_CHAT_ID is missing: the chat in which approvals are announced. "
            "Write /start to the bot there, then run: aegis channels ids"
        )
    if not operators:
        raise ConfigurationError(
            "AEGIS_TELEGRAM_OPERATORS is missing: the user ids of those who may decide, such as 123456=ana. "
            "Write /start to the bot, then run: aegis channels ids"
        )
    if secret is not None and not _SECRET.fullmatch(secret):
        raise ConfigurationError("AEGIS_TELEGRAM_WEBHOOK_SECRET must be 16 to 256 letters, digits, _ or -.")
    return TelegramSettings(
        token, settings.telegram_chat_id, operators, settings.telegram_api_url, settings.telegram_webhook_url, secret,
        settings.telegram_topic_id,
    )  # fmt: skip


def message_ref(chat: int, message: int) -> str:
    """What is remembered of a message: ids repeat from chat to chat."""
    return f"{chat}:{message}"
