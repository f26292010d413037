"""Approvals on Telegram, with aiogram (extra ``telegram``): what is sent. What comes back is in `handlers`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from html import escape

from aiogram import Bot, Dispatcher
from aiogram.client.default import DefaultBotProperties
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    AiogramError,
    TelegramBadRequest,
    TelegramMigrateToChat,
    TelegramRetryAfter,
)
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, ReplyParameters

from aegis_core.channels import texts as words
from aegis_core.channels.telegram.buttons import Buttons
from aegis_core.channels.telegram.handlers import Handlers
from aegis_core.channels.telegram.hearing import Hearing, masked
from aegis_core.channels.telegram.message import text_of
from aegis_core.channels.telegram.settings import TelegramSettings, message_ref
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.observe.pace import Pace
from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.errors import ChannelError

_NOT_HERE = (
    "chat not found", "not enough rights", "have no rights", "bot was kicked", "group chat was deactivated",
    "topic_closed", "message thread not found", "administrator rights",
)  # fmt: skip
"""Bad requests that say something about the chat and not about one message."""
_GONE = (
    "message to edit not found", "message to be replied not found", "replied message not found",
    "message_id_invalid", "message can't be edited",
)  # fmt: skip
"""Bad requests that say that a message was deleted."""


class TelegramChannel:
    """One bot in one chat. Its operators are named by their user ids."""

    name = "telegram"

    def __init__(self, settings: TelegramSettings, governor: ResourceGovernor, *, pace: Pace | None = None) -> None:
        store = governor.tenant_store
        self._settings, self._chat, self._pace = settings, settings.chat, pace or Pace()
        self._names = {f"telegram:{number}": name for number, name in settings.operators.items() if name}
        self.webhook_secret = settings.webhook_secret_with(store.pepper)
        session = AiohttpSession(api=TelegramAPIServer.from_base(settings.api_url), timeout=self._pace.send)
        self.bot = Bot(settings.token, session=session, default=DefaultBotProperties(parse_mode="HTML"))
        self._buttons = Buttons(store.pepper, store.tenant, settings.chat)
        self.channel_store = store.channel_store(self.name)
        dispatcher = Dispatcher()
        dispatcher.include_router(Handlers(settings, governor, self.channel_store, self._buttons, self._names).router())
        self._hearing = Hearing(
            settings, self.bot, dispatcher, self.channel_store, pace=self._pace, secret=self.webhook_secret
        )

    async def announce(self, approval: Approval) -> str:
        """Send the message with the buttons; answers its id."""
        async with self._reached():
            sent = await self.bot.send_message(
                self._chat,
                text_of(approval, self._names),
                message_thread_id=self._settings.topic,
                reply_markup=self._keyboard(approval),
                link_preview_options=_NO_PREVIEW,
            )
        return message_ref(self._chat, sent.message_id)

    def shows_here(self, ref: str) -> bool:
        """Whether a message is in the chat that the settings name now. Older versions did not write down in which."""
        chat, _, _ = ref.rpartition(":")
        return chat in {"", str(self._chat)}

    async def update(self, approval: Approval, ref: str) -> None:
        """Edit the message; once decided, its buttons go."""
        await self._edit(ref, text_of(approval, self._names), self._keyboard(approval))

    async def remind(self, approval: Approval, ref: str) -> None:
        """Reply to the message, without a sound."""
        text = f"⏳ Still waiting for a decision, until {words.clock(approval.deadline)}."
        reply = ReplyParameters(message_id=_number(ref))
        async with self._reached():
            await self.bot.send_message(
                self._chat, text, message_thread_id=self._settings.topic, reply_parameters=reply,
                disable_notification=True,
            )  # fmt: skip

    async def alert(self, text: str) -> None:
        """Send a message without buttons."""
        async with self._reached():
            await self.bot.send_message(
                self._chat, f"🔔 {escape(text)}", message_thread_id=self._settings.topic,
                link_preview_options=_NO_PREVIEW,
            )  # fmt: skip

    async def retire(self, approval_id: str, ref: str) -> None:
        """Take the buttons away."""
        text = f"⌛ <b>Over</b>\nThis approval ended a while ago; the events say how.\n<code>{approval_id}</code>"
        await self._edit(ref, text, None)

    async def test(self) -> str:
        """Send a test message."""
        async with self._reached():
            me = await self.bot.me()
            await self.bot.send_message(
                self._chat, "Aegis will announce approvals here.", message_thread_id=self._settings.topic,
                disable_notification=True,
            )  # fmt: skip
        return f"@{me.username} sent a message to the chat {self._chat}"

    async def listen(self) -> None:
        """Take what operators say, for as long as it runs; with a webhook, tell Telegram where to post it."""
        await self._hearing.listen()

    async def take_post(self, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]) -> None:
        """One update from the webhook; raises as `Hearing.take_post`."""
        await self._hearing.take_post(headers, read)

    async def aclose(self) -> None:
        """Close the connections to Telegram."""
        await self.bot.session.close()

    async def _edit(self, ref: str, text: str, keyboard: InlineKeyboardMarkup | None) -> None:
        try:
            async with self._reached():
                await self.bot.edit_message_text(
                    text,
                    chat_id=self._chat,
                    message_id=_number(ref),
                    reply_markup=keyboard,
                    link_preview_options=_NO_PREVIEW,
                )
        except ChannelError as error:
            if "message is not modified" not in error.message:
                raise

    def _keyboard(self, approval: Approval) -> InlineKeyboardMarkup | None:
        if approval.status != "open":
            return None
        row = [
            InlineKeyboardButton(text="APPROVE", callback_data=self._buttons.data(approval, "approve")),
            InlineKeyboardButton(text="REJECT", callback_data=self._buttons.data(approval, "reject")),
        ]
        rows = [row]
        if words.is_cut(approval):
            data = self._buttons.data(approval, "file")
            rows.append([InlineKeyboardButton(text="SEND ALL ARGUMENTS AS A FILE", callback_data=data)])
        return InlineKeyboardMarkup(inline_keyboard=rows)

    @asynccontextmanager
    async def _reached(self) -> AsyncGenerator[None]:
        """Say what Telegram's refusals mean for the channel."""
        try:
            yield
        except TelegramRetryAfter as error:
            raise ChannelError(
                f"Telegram asks to wait for {error.retry_after} s", retry_after=error.retry_after
            ) from None
        except TelegramMigrateToChat as error:
            raise ChannelError(
                f"the group became a supergroup; set AEGIS_TELEGRAM_CHAT_ID={error.migrate_to_chat_id}"
            ) from None
        except TelegramBadRequest as error:
            said = error.message.lower()
            everything, gone = (any(piece in said for piece in pieces) for pieces in (_NOT_HERE, _GONE))
            raise ChannelError(masked(error, self.bot.token), everything=everything, gone=gone) from None
        except AiogramError as error:
            raise ChannelError(masked(error, self.bot.token)) from None


def _number(ref: str) -> int:
    return int(ref.rpartition(":")[2])


_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
