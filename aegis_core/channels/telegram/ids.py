"""Who wrote to a bot lately: how a newcomer learns the ids that the settings ask for."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import AiogramError, TelegramConflictError
from aiogram.types import Update
from pydantic import ValidationError

from aegis_core.channels.telegram.hearing import RawUpdates
from aegis_core.protocol.errors import ConfigurationError

_log = logging.getLogger("aegis.channels")


@dataclass(frozen=True, slots=True)
class ChatWriter:
    """A chat in which somebody wrote to the bot."""

    chat_id: int
    chat: str
    user_id: int
    user: str


async def recent(token: str, api_url: str) -> list[ChatWriter]:
    """Chats and people of the updates that nobody has fetched yet; they stay unfetched.

    Raises:
        ConfigurationError: Telegram refuses the token or cannot be reached, or a running server fetches the updates.
    """
    try:
        bot = Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(api_url), timeout=10))
    except AiogramError as error:
        raise ConfigurationError(f"AEGIS_TELEGRAM_TOKEN: {error}") from None
    try:
        updates = await bot(RawUpdates())
    except TelegramConflictError:
        raise ConfigurationError(
            "Another process fetches this bot's updates, or a webhook is set; a running server answers /start with ids."
        ) from None
    except AiogramError as error:
        raise ConfigurationError(f"Telegram: {str(error).replace(token, '[masked]')}") from None
    finally:
        await bot.session.close()
    found: dict[ChatWriter, None] = {}
    for raw in updates:
        try:
            message = Update.model_validate(raw).message
        except ValidationError:
            _log.warning("telegram: skipped an update that cannot be read; write /start once more")
            continue
        if message is not None and message.from_user is not None:
            chat = message.chat.title or message.chat.type
            found[ChatWriter(message.chat.id, chat, message.from_user.id, message.from_user.full_name)] = None
    return list(found)
