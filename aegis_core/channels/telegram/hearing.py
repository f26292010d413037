"""What comes back from Telegram: fetched or posted, read one by one, and whether it comes at all."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from aiogram import Bot, Dispatcher
from aiogram.exceptions import RestartingTelegram, TelegramAPIError, TelegramRetryAfter, TelegramServerError
from aiogram.methods import TelegramMethod
from aiogram.types import Update
from pydantic import ValidationError

from aegis_core.channels.telegram.settings import TelegramSettings
from aegis_core.governor.tenant import ChannelStore
from aegis_core.observe.pace import Pace
from aegis_core.protocol.errors import AegisError, AuthError, ChannelError, InvalidRequestError
from aegis_core.protocol.parsing import loads

_log = logging.getLogger("aegis.channels")
_KINDS = ["message", "callback_query"]
_POLL_SECONDS = 25
_HEADER = "X-Telegram-Bot-Api-Secret-Token"
_PASSING = (RestartingTelegram, TelegramRetryAfter, TelegramServerError)
"""Answers of Telegram that are likely to be over soon. Of the others somebody must hear at once."""


class RawUpdates(TelegramMethod[list[Any]]):
    """``getUpdates``, with each update as Telegram sent it: one that aiogram cannot read must not cost the others."""

    __returning__ = list[Any]
    __api_method__ = "getUpdates"

    offset: int | None = None
    timeout: int = 0
    allowed_updates: list[str] | None = None


class Hearing:
    """Hands on what operators say, and tells how that goes."""

    def __init__(
        self,
        settings: TelegramSettings,
        bot: Bot,
        dispatcher: Dispatcher,
        channel_store: ChannelStore,
        *,
        pace: Pace,
        secret: str,
    ) -> None:
        self._url, self._secret, self._bot, self._dispatcher = settings.webhook_url, secret, bot, dispatcher
        self._store, self._pace = channel_store, pace
        self._told: str | None = None
        self._offset: int | None = None

    async def listen(self) -> None:
        """Fetch what operators say, by long polling; or tell Telegram where to post it, and be done."""
        failures, ready, failed_at, heard_at = 0, False, 0.0, time.monotonic()
        while True:
            try:
                if not ready:
                    await self._open_line()
                    ready = True
                if not self._url:
                    await self._fetch()
            except Exception as error:  # noqa: BLE001 - deaf for a while, but never for good
                failures, failed_at = failures + 1, time.monotonic()
                problem = masked(error, self._bot.token)
                _log.warning("telegram: no updates: %s", problem)
                if _is_final(error) or failed_at - heard_at > _POLL_SECONDS:
                    await self._tell(problem)
                await asyncio.sleep(max(getattr(error, "retry_after", 0), self._pace.retry(failures)))
                continue
            failures, heard_at = 0, time.monotonic()
            # Two pollers throw each other out by turns; only a quiet time says that this is over.
            if not self._told or heard_at - failed_at > self._pace.send:
                await self._tell("")
            if self._url:
                return

    async def take_post(self, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]) -> None:
        """One update from the webhook. It shows the secret that Telegram was given when the webhook was set.

        Raises:
            AuthError: it does not. InvalidRequestError: it is not JSON. JSON that is no update is dropped: Telegram
                would only send it again.
        """
        if not hmac.compare_digest(headers.get(_HEADER, "").encode(), self._secret.encode()):
            with suppress(AegisError):  # a trace in the events, where they can be written
                await self._store.refuse("stranger", "webhook")
            raise AuthError(f"The header {_HEADER} is missing or wrong.", code="bad_token")
        try:
            update = loads(await read())
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"The body is not JSON: {error}", code="malformed_json") from None
        await self._take(update)

    async def _open_line(self) -> None:
        if self._url:
            await self._bot.set_webhook(self._url, secret_token=self._secret, allowed_updates=_KINDS)
        else:
            await self._bot.delete_webhook()  # with one set, polling is refused

    async def _fetch(self) -> None:
        """One long poll. Its updates are confirmed by the next one: what was not taken is sent again."""
        asked = RawUpdates(offset=self._offset, timeout=_POLL_SECONDS, allowed_updates=_KINDS)
        updates = await self._bot(asked, request_timeout=int(_POLL_SECONDS + self._pace.send))
        numbered = False
        for update in updates:
            await self._take(update)
            number: object = _facts(update).get("update_id")
            if isinstance(number, int):
                self._offset, numbered = number + 1, True
        if updates and not numbered:  # they could never be confirmed, and would come again at once
            raise ChannelError("Telegram sent updates without numbers")

    async def _take(self, raw: object) -> None:
        """Hand on one update; one that cannot be read is skipped, and leaves an event."""
        try:
            update = Update.model_validate(raw, context={"bot": self._bot})
        except (ValidationError, RecursionError) as error:
            _log.warning("telegram: skipped an update that cannot be read: %s", type(error).__name__)
            with suppress(AegisError):
                await self._store.refuse(_author(raw), "unreadable_update")
            return
        try:
            await self._dispatcher.feed_update(self._bot, update)
        except Exception:  # noqa: BLE001 - one update that nobody foresaw must not stop those that follow
            _log.exception("telegram: an update could not be handled")

    async def _tell(self, problem: str) -> None:
        """Say how hearing goes, where that has changed; a store that is down is told with the next poll."""
        if problem != self._told:
            with suppress(AegisError):
                await self._store.tell("hearing", problem)
                self._told = problem


def masked(error: Exception, token: str) -> str:
    """What went wrong, without the bot's token; the texts of connections may hold addresses, and are left out."""
    stated = error.message if isinstance(error, TelegramAPIError | ChannelError) else ""
    return (stated or type(error).__name__).replace(token, "[masked]")


def _is_final(error: Exception) -> bool:
    """Telegram refused, as it does to a wrong token (401) or beside another poller (409)."""
    return isinstance(error, TelegramAPIError) and not isinstance(error, _PASSING)


def _author(raw: object) -> str:
    """Who wrote what cannot be read, as far as that can be read."""
    numbers = (_facts(_facts(body).get("from")).get("id") for body in _facts(raw).values())
    return next((f"telegram:{number}" for number in numbers if isinstance(number, int)), "telegram")


def _facts(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
