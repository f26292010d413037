"""Where Telegram posts what operators say, when it is told to. Mounted only then."""

from __future__ import annotations

import hmac
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter, Request, Response

from aegis_core.api.messages import Done
from aegis_core.api.routing import PREFIX, Writer
from aegis_core.protocol.errors import AegisError, AuthError, InvalidRequestError

if TYPE_CHECKING:
    from aegis_core.channels.telegram.channel import TelegramChannel

router = APIRouter(prefix=PREFIX)

_HEADER = "X-Telegram-Bot-Api-Secret-Token"
_done = Writer(Done)


@router.post("/telegram/webhook", include_in_schema=False)
async def telegram(request: Request) -> Response:
    """One update of Telegram's. It shows the secret that it was given when the webhook was set."""
    channel = cast("TelegramChannel", request.app.state.channels["telegram"])
    shown = request.headers.get(_HEADER, "")
    if not hmac.compare_digest(shown.encode(), channel.webhook_secret.encode()):
        with suppress(AegisError):  # a trace in the events, where they can be written
            await channel.channel_store.refuse("stranger", "webhook")
        raise AuthError(f"The header {_HEADER} is missing or wrong.", code="bad_token")
    try:
        update: Any = json.loads(await request.body())
    except ValueError as error:
        raise InvalidRequestError(f"The body is not JSON: {error}", code="malformed_json") from None
    await channel.take(update)
    return _done(Done())
